from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.errors import DelineateError, UnknownNameError
from delineate.pipelines.imaging.structures import COLOURS, Code, Structure, colours_of, structures_of, thresholds_of

HEART = {"name": "heart", "code": {"scheme": "SCT", "value": "80891009", "meaning": "Heart"}, "threshold": 0.4}
CODES = st.none() | st.builds(Code, st.just("SCT"), st.from_regex(r"[0-9]{6,9}", fullmatch=True), st.just("Organ"))
STRUCTURES = st.builds(
    Structure,
    st.from_regex(r"[a-z][a-z0-9 -]{0,20}", fullmatch=True),
    CODES,
    st.none() | st.lists(st.integers(0, 255), min_size=1, max_size=3).map(tuple),
    st.none() | st.floats(0, 1),
    st.none() | st.tuples(*[st.integers(0, 255)] * 3),
)


@given(st.lists(STRUCTURES, unique_by=lambda one: one.file_name))
def test_structures_are_read_as_they_were_written(structures: list[Structure]) -> None:
    assert structures_of([one.as_dict() for one in structures]) == tuple(structures)


def test_a_task_without_a_list_has_one_structure_without_a_name() -> None:
    assert structures_of(None) == ()
    assert thresholds_of((), 0.3) == (0.3,)
    assert thresholds_of(()) == (0.5,)


def test_each_structure_has_its_own_threshold_unless_one_is_given() -> None:
    structures = structures_of([HEART, {"name": "left lung"}])
    assert thresholds_of(structures) == (0.4, 0.5)
    assert thresholds_of(structures, {"left lung": 0.7}) == (0.4, 0.7)
    assert thresholds_of(structures, 0.6) == (0.6, 0.6)


def test_a_threshold_of_no_structure_is_refused_with_the_closest_name() -> None:
    with pytest.raises(UnknownNameError, match="left lung"):
        thresholds_of(structures_of([{"name": "left lung"}]), {"left lnug": 0.7})


def test_colours_follow_the_order_unless_they_are_named() -> None:
    structures = structures_of([{"name": "a"}, {"name": "b", "colour": [1, 2, 3]}, {"name": "c"}])
    assert colours_of(structures) == [COLOURS[0], (1, 2, 3), COLOURS[2]]


def test_spaces_become_underscores_in_file_names() -> None:
    assert Structure("left lung (upper)").file_name == "left_lung_upper"


@pytest.mark.parametrize(
    "settings",
    [
        "heart",
        {"name": "heart"},
        ["heart"],
        [{"name": ""}],
        [{"name": "Background"}],
        [{"name": "../heart"}],
        [{"name": "heart", "values": [-1]}],
        [{"name": "heart", "values": []}],
        [{"name": "heart", "threshold": 2}],
        [{"name": "heart", "colour": [1, 2]}],
        [{"name": "heart", "code": "80891009"}],
        [{"name": "heart", "side": "left"}],
        [{"name": "left lung"}, {"name": "left_lung"}],
    ],
)
def test_what_is_no_list_of_structures_is_refused(settings: object) -> None:
    with pytest.raises(DelineateError):
        structures_of(settings)  # type: ignore[arg-type]
