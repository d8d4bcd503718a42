from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from delineate.errors import DelineateError, UnknownNameError
from delineate.pipelines.imaging.structures import (
    COLOURS,
    Code,
    Structure,
    channels_of,
    colours_of,
    structures_of,
    thresholds_of,
)

HEART = {"name": "heart", "code": {"scheme": "SCT", "value": "80891009", "meaning": "Heart"}, "threshold": 0.4}
CODES = st.none() | st.builds(Code, st.just("SCT"), st.from_regex(r"[0-9]{6,9}", fullmatch=True), st.just("Organ"))
STRUCTURES = st.builds(
    Structure,
    st.from_regex(r"[a-z][a-z0-9 -]{0,20}", fullmatch=True),
    CODES,
    st.none() | st.lists(st.integers(0, 255), min_size=1, max_size=3).map(tuple),
    st.none() | st.floats(0, 1),
    st.none() | st.tuples(*[st.integers(0, 255)] * 3),
    CODES,
    CODES,
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


@pytest.mark.parametrize("key", ["code", "category", "region"])
@pytest.mark.parametrize("value", ["51185008", {"scheme": "SCT", "value": "51185008"}])
def test_what_is_no_code_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(DelineateError, match=f"^{key} of heart is .*51185008.*; write {{scheme: SCT"):
        structures_of([{"name": "heart", key: value}])


def test_a_structure_is_written_without_what_is_not_known() -> None:
    region = Code("SCT", "816094009", "Thorax")
    assert Structure("heart", values=(1, 2)).as_dict() == {"name": "heart", "values": [1, 2]}
    assert structures_of([HEART])[0].as_dict() == HEART
    assert json.dumps(Structure("heart", colour=(1, 2, 3), region=region).as_dict()) == (
        '{"name": "heart", "colour": [1, 2, 3], "region": {"scheme": "SCT", "value": "816094009", "meaning": "Thorax"}}'
    )


def test_of_exclusive_structures_the_greatest_is_enough_unless_a_threshold_is_set() -> None:
    structures = structures_of([HEART, {"name": "left lung"}])
    assert thresholds_of(structures, exclusive=True) == (0.4, 0.0)
    assert thresholds_of(structures, 0.6, exclusive=True) == (0.6, 0.6)


def test_channels_are_the_background_and_the_structures_unless_these_may_overlap() -> None:
    one, two = structures_of([HEART]), structures_of([HEART, {"name": "left lung"}])
    assert channels_of(one, False) == channels_of(one, True) == {"0": "background", "1": "heart"}
    assert channels_of(two, True) == {"0": "background", "1": "heart", "2": "left lung"}
    assert channels_of(two, False) == {"0": "heart", "1": "left lung"}


SEEN_BY = {
    "trichromat": np.eye(3),
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranope": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanope": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""Of linear RGB: Machado, Oliveira, Fernandes 2009, https://doi.org/10.1109/TVCG.2009.113, severity 1."""


@pytest.mark.parametrize("person", SEEN_BY)
def test_everybody_can_tell_the_colours_of_structures_apart(person: str) -> None:
    srgb = np.array(COLOURS) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(SEEN_BY[person]).T).clip(0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    apart = deltaE_ciede2000(lab[:, None], lab[None])
    assert apart[~np.eye(len(COLOURS), dtype=bool)].min() > 13
