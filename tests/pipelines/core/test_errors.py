from __future__ import annotations

import pytest

from delineate.pipelines.core.errors import (
    ComponentError,
    DelineateError,
    InputError,
    UnknownNameError,
    closest,
    plain_errors,
    printable,
)


def test_a_refused_file_says_what_was_seen_and_what_to_do() -> None:
    error = InputError("a.png", "is empty (0 bytes)", "copy it again")
    assert str(error) == "a.png: is empty (0 bytes); copy it again"
    assert (error.source, error.reason, error.remedy) == ("a.png", "is empty (0 bytes)", "copy it again")


@pytest.mark.parametrize(("name", "closest"), [("unett", "unet"), ("ultralight", "ultra_light_unet")])
def test_a_wrong_name_is_answered_with_the_closest_and_all(name: str, closest: str) -> None:
    message = str(UnknownNameError("network", name, ["unet", "ultra_light_unet"]))
    assert message == f"no network is called {name!r}; did you mean {closest!r}? there are: unet, ultra_light_unet"


def test_a_name_unlike_any_is_answered_with_all() -> None:
    message = str(UnknownNameError("split", "xyz", iter(["training", "test"])))
    assert message == "no split is called 'xyz'; there are: training, test"


@pytest.mark.parametrize("error", [InputError("a", "b", "c"), UnknownNameError("a", "b", [])])
def test_each_is_caught_as_one_kind(error: Exception) -> None:
    assert isinstance(error, DelineateError)


def wrapped(known: DelineateError) -> None:
    """Raise it as MONAI does: as the cause of an error of its own."""
    try:
        raise known
    except DelineateError as error:
        raise RuntimeError("Failed to instantiate; set '_mode_=debug'") from error


def test_an_error_that_monai_wrapped_comes_out_by_itself() -> None:
    with pytest.raises(DelineateError, match="train it first") as seen, plain_errors():
        wrapped(DelineateError("no weights; train it first"))
    assert seen.value.__suppress_context__


def not_made(cause: Exception) -> None:
    """Raise what MONAI makes of it: a component within an expression within the workflow."""
    words = (
        "Failed to instantiate component 'monai.data.DataLoader' with keywords: dataset,batch_size\n set '_mode_=debug'"
    )
    try:
        try:
            raise RuntimeError(words) from cause
        except RuntimeError as error:
            raise RuntimeError("Failed to evaluate ConfigExpression") from error
    except RuntimeError as error:
        raise RuntimeError("and so on") from error


@pytest.mark.parametrize("kind", [ValueError, TypeError, RuntimeError])
def test_a_component_that_refuses_its_settings_is_named_in_one_line(kind: type[Exception]) -> None:
    with pytest.raises(ComponentError) as refused, plain_errors():
        not_made(kind("is 0,\nnot positive"))
    assert str(refused.value) == (
        f"monai.data.DataLoader cannot be made of its settings (dataset, batch_size): {kind.__name__}: is 0, "
        "not positive; correct the one that is meant, --verbose shows where it failed"
    )
    assert "and so on" in str(refused.value.__cause__)


@pytest.mark.parametrize(
    "cause", [KeyError("name"), AttributeError("x"), RuntimeError("can't allocate memory")], ids=str
)
def test_what_is_no_matter_of_settings_stays_as_it_is(cause: Exception) -> None:
    with pytest.raises(RuntimeError, match="and so on"), plain_errors():
        not_made(cause)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="odd"), plain_errors():
        raise RuntimeError("odd")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Lésion 1 家.png", "Lésion 1 家.png"),
        ("a\nb\x1b[0m", r"a\nb\x1b[0m"),
        ("\udcff", r"\xff"),
        ("\u202egnp", r"\u202egnp"),
        ("at 3.00\u202fPM", "at 3.00\u202fPM"),
        ("a\\nb", r"a\\nb"),
    ],
    ids=["plain", "control", "no UTF-8", "bidi", "narrow space", "backslash"],
)
def test_a_name_is_printed_on_one_line_and_like_no_other(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert str(InputError(name, "a", "b")) == f"{shown}: a; b"


@pytest.mark.parametrize(
    ("name", "found"), [("Heart", "heart"), ("LEFT_LUNG", "left lung"), ("Right Lung", "Right lung")]
)
def test_a_name_in_other_letters_is_answered_with_the_right_one(name: str, found: str) -> None:
    assert closest(name, ["left lung", "heart", "Right lung"]) == f"did you mean {found!r}"
