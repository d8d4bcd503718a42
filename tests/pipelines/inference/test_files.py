"""Names of a result's files, and label maps."""

from __future__ import annotations

import sys
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.imaging.structures import Structure, join_labels
from delineate.pipelines.inference.files import OutputOptions, file_endings, name_of, parse_formats, possible_endings

ONE, TWO = (Structure("lung"),), (Structure("left lung"), Structure("heart"))
OPTIONS = st.builds(OutputOptions, st.booleans(), st.booleans(), label_map=st.booleans())


def test_one_structure_has_no_name_in_its_files() -> None:
    assert file_endings(ONE, "png", OutputOptions(overlay=True, probability=True)) == [
        {"mask": "_mask.png", "overlay": "_overlay.png", "probability": "_probability.png"}
    ]


def test_several_have_a_file_each_and_one_overlay() -> None:
    found = file_endings(TWO, "nii.gz", OutputOptions(overlay=True))
    assert found == [
        {"mask": "_left_lung_mask.nii.gz", "overlay": "_overlay.png"},
        {"mask": "_heart_mask.nii.gz", "overlay": "_overlay.png"},
    ]


@given(st.sampled_from([ONE, TWO]), st.sampled_from(["png", "nii.gz", "nrrd"]), OPTIONS)
def test_each_file_is_among_those_that_a_name_is_kept_free_for(
    structures: tuple[Structure, ...], ending: str, options: OutputOptions
) -> None:
    written = set(chain.from_iterable(one.values() for one in file_endings(structures, ending, options)))
    assert written <= possible_endings(structures)


@given(st.text(min_size=1).filter(lambda text: "/" not in text), st.sampled_from([ONE, TWO]), OPTIONS)
def test_the_name_of_a_result_is_found_again_in_its_files(
    name: str, structures: tuple[Structure, ...], options: OutputOptions
) -> None:
    for one, files in zip(structures, file_endings(structures, "nii.gz", options), strict=True):
        assert name_of(name + files["mask"], one.name if len(structures) > 1 else "") == name


@given(arrays(np.uint8, (4, 5), elements=st.integers(0, 3)))
def test_a_label_map_holds_each_mask(labels: np.ndarray) -> None:
    masks = {name: (labels == value).astype(np.uint8) for value, name in enumerate("abc", start=1)}
    np.testing.assert_array_equal(join_labels("x.png", masks), labels)


def test_masks_that_overlap_make_no_label_map() -> None:
    full, half = np.ones((2, 3), np.uint8), np.array([[1, 1, 0], [0, 0, 0]], np.uint8)
    with pytest.raises(InputError, match=r"x\.png: its heart shares 2 pixels with left lung; leave out"):
        join_labels("x.png", {"left lung": half, "heart": full})


def test_more_structures_than_values_make_no_label_map() -> None:
    empty = np.zeros((1, 1), np.uint8)
    with pytest.raises(InputError, match="has 256 structures"):
        join_labels("x.png", {str(number): empty for number in range(256)})


def test_formats_are_words_or_a_list() -> None:
    assert parse_formats(" seg,PNG,seg") == parse_formats(["seg", "png"]) == ("seg", "png")
    assert parse_formats(None) == ()


def test_a_volume_format_refines_nifti_and_no_other() -> None:
    assert OutputOptions.of(volume_format="nii", formats="nifti").volume_ending == "nii"
    assert OutputOptions.of(volume_format="nii", formats="mha").volume_ending == "mha"
    assert OutputOptions.of(volume_format="nii", formats="png").volume_ending == "nii"


def test_without_highdicom_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert OutputOptions.of(formats="png").formats == ("png",)
    with pytest.raises(DelineateError, match=r"pip install .*\[dicom\]"):
        OutputOptions.of(formats="png,seg")
