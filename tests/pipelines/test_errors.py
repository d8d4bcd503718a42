from __future__ import annotations

import pytest

from delineate.pipelines.errors import DelineateError, InputError, UnknownNameError


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
