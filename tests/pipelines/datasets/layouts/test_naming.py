from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.datasets.layouts.naming import match, separate_masks


def paths(*names: str) -> list[Path]:
    return [Path(f"/data/{name}") for name in names]


def by_name(images: list[str], masks: list[str]) -> dict[str, tuple[str, str]]:
    """Mask and rule by image."""
    items, refused = match(paths(*images), paths(*masks))
    assert not refused
    return {item.file.name: (item.label[0].name, item.rule) for item in items}


@pytest.mark.parametrize(
    ("image", "mask", "rule"),
    [
        ("a.jpg", "a.png", "equal names"),
        ("a.png", "a_mask.png", "* with *_mask"),
        ("a.png", "a-mask.png", "* with *-mask"),
        ("a.png", "a_mask_corrected.png", "* with *_mask_corrected"),
        ("a.png", "a_mask-edited.png", "* with *_mask-edited"),
        ("a.png", "a_seg_v2.png", "* with *_seg_v2"),
        ("a.png", "a_masks.png", "* with *_masks"),
        ("a.png", "a_gt.png", "* with *_gt"),
        ("a.png", "a_GT.png", "* with *_GT"),
        ("a.png", "a_label.png", "* with *_label"),
        ("a.png", "a_Segmentation.png", "* with *_Segmentation"),
        ("a.png", "a_seg.png", "* with *_seg"),
        ("a.png", "a_anno.bmp", "* with *_anno"),
        ("a.png", "a_ground_truth.png", "* with *_ground_truth"),
        ("12.png", "12mask.png", "* with *mask"),
        ("12.png", "mask12.png", "* with mask*"),
        ("a.png", "mask_a.png", "* with mask_*"),
        ("a_image.png", "a_mask.png", "*_image with *_mask"),
        ("image_1.png", "mask_1.png", "image_* with mask_*"),
        ("image1.png", "mask1.png", "image* with mask*"),
        ("img_1.png", "gt_1.png", "img_* with gt_*"),
        ("bus_0001-l.png", "mask_0001-l.png", "bus_* with mask_*"),
        ("Test_Image_1.png", "mask_1.png", "Test_Image_* with mask_*"),
        ("patient 7 (2).tif", "patient 7 (2)_mask.tif", "* with *_mask"),
    ],
)
def test_names_that_differ_by_a_word_are_a_pair_and_the_rule_says_so(image: str, mask: str, rule: str) -> None:
    assert by_name([image], [mask]) == {image: (mask, rule)}


def test_a_beginning_must_be_that_of_all_images() -> None:
    items, refused = match(paths("benign_1.png", "malignant_2.png"), paths("mask_1.png", "mask_2.png"))
    assert not items
    assert len(refused) == 4


def test_numbers_are_no_part_of_a_beginning() -> None:
    items, _ = match(paths("s1_1.png", "s1_2.png"), paths("mask_1.png", "mask_2.png"))
    assert not items


def test_a_mask_that_fits_several_images_is_refused_and_the_rest_goes_on() -> None:
    images = paths("a.png", "a_image.png", "b.png")
    items, refused = match(images, paths("a_mask.png", "b_mask.png"))
    assert [item.file.name for item in items] == ["b.png"]
    reasons = {Path(error.source).name: error.reason for error in refused}
    assert reasons["a_mask.png"] == "fits several images (a, a_image)"


def test_an_equal_name_goes_before_all_else() -> None:
    items, refused = match(paths("a.png", "a_mask.png"), paths("a.png", "a_mask.png"))
    assert not refused
    assert {item.file.name: item.label[0].name for item in items} == {"a.png": "a.png", "a_mask.png": "a_mask.png"}


def test_several_masks_of_an_image_are_refused_whatever_their_words() -> None:
    items, refused = match(paths("a.png"), paths("a_mask.png", "a_gt.png"))
    assert not items
    assert {Path(error.source).name for error in refused} == {"a_mask.png", "a_gt.png"}


def test_images_that_differ_by_their_suffix_have_masks_named_after_the_whole() -> None:
    """As ``delineate segment`` names them."""
    pairs = by_name(["a.jpg", "a.png", "b.png"], ["a.jpg_mask.png", "a.png_mask.png", "b_mask.png"])
    assert {image: mask for image, (mask, _) in pairs.items()} == {
        "a.jpg": "a.jpg_mask.png",
        "a.png": "a.png_mask.png",
        "b.png": "b_mask.png",
    }


def test_images_that_differ_by_their_suffix_are_refused_where_masks_do_not_tell_them_apart() -> None:
    items, refused = match(paths("a.jpg", "a.png"), paths("a_mask.png"))
    assert not items
    assert {Path(error.source).name for error in refused} == {"a.jpg", "a.png"}


@given(names=st.sets(st.text("ab1_ -", min_size=1, max_size=5), min_size=1, max_size=6), data=st.data())
def test_no_mask_is_lost_and_no_file_is_in_two_pairs(names: set[str], data: Any) -> None:
    words = st.sampled_from(["{}", "{}_mask", "mask_{}", "{} gt"])
    images = paths(*(f"{name}.png" for name in sorted(names)))
    masks = paths(*sorted({data.draw(words).format(name) + ".bmp" for name in names}))
    items, refused = match(images, masks)
    seen = [file for item in items for file in (item.file, *item.label)]
    assert len(seen) == len(set(seen))
    assert set(masks) <= {*seen, *(Path(error.source) for error in refused)}


def test_images_and_masks_in_one_folder_are_told_aseparate_masks() -> None:
    images, masks = separate_masks(paths("a.png", "a_mask.png", "b.png", "b_mask.png", "notes_mask.png"))
    assert [file.name for file in images] == ["a.png", "b.png"]
    assert [file.name for file in masks] == ["a_mask.png", "b_mask.png", "notes_mask.png"]


def test_a_folder_of_images_alone_has_no_masks_whatever_they_are_called() -> None:
    assert separate_masks(paths("face_mask.png", "hand.png")) == (paths("face_mask.png", "hand.png"), [])
