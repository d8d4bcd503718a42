from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.datasets.layouts import detect, paired


@pytest.mark.parametrize("mask", ["a b [1].png", "a b [1].TIF", "a b [1]_mask.bmp", "a b [1]_segmentation.png"])
def test_paired_matches_names_with_and_without_a_suffix(tmp_path: Path, mask: str, touch: Any, pairs: Any) -> None:
    found = paired(touch(tmp_path, "images/a b [1].JPG", f"masks/{mask}"))
    assert pairs(found) == [("a b [1].JPG", mask)]
    assert found[0][0].group == "a b [1]"
    assert not found[1]


def test_paired_takes_folder_names_in_any_case(tmp_path: Path, touch: Any, pairs: Any) -> None:
    assert pairs(paired(touch(tmp_path, "Images/a.png", "MASKS/a.png"))) == [("a.png", "a.png")]


def test_paired_takes_an_image_whose_own_name_ends_like_a_mask(tmp_path: Path, touch: Any, pairs: Any) -> None:
    found = paired(touch(tmp_path, "images/face_mask.png", "masks/face_mask.png"))
    assert pairs(found) == [("face_mask.png", "face_mask.png")]


def test_paired_refuses_what_has_no_counterpart_by_name(tmp_path: Path, touch: Any, pairs: Any, refusals: Any) -> None:
    found = paired(touch(tmp_path, "images/a.png", "images/b.png", "masks/b.png", "masks/c_mask.png"))
    assert pairs(found) == [("b.png", "b.png")]
    assert refusals(found) == {"a.png": "image has no mask", "c_mask.png": "mask has no image"}


def test_paired_refuses_two_images_of_one_name(tmp_path: Path, touch: Any, refusals: Any) -> None:
    found = paired(touch(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png"))
    assert not found[0]
    assert refusals(found) == {
        "a.jpg": "is one of several images of one name (also a.png)",
        "a.png": "is one of several images of one name (also a.jpg)",
    }


def test_paired_refuses_two_masks_of_one_image(tmp_path: Path, touch: Any, refusals: Any) -> None:
    found = paired(touch(tmp_path, "images/a.jpg", "masks/a.png", "masks/a_mask.png"))
    assert not found[0]
    assert set(refusals(found)) == {"a.png", "a_mask.png"}


def test_paired_names_other_files_and_folders_but_not_hidden_ones(
    tmp_path: Path, touch: Any, pairs: Any, refusals: Any
) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "images/notes.txt", "images/patient 2/b.png")
    touch(tmp_path, "images/.DS_Store", "images/Thumbs.db", "masks/._a.png")
    found = paired(tmp_path)
    assert pairs(found) == [("a.png", "a.png")]
    assert set(refusals(found)) == {"notes.txt", "patient 2"}


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("imgs", "labels"),
        ("image", "label"),
        ("Images", "GT"),
        ("Original", "Ground Truth"),
        ("images", "ground_truth"),
        ("images", "groundtruth"),
        ("images", "annotations"),
        ("images", "segmentations"),
        ("photos", "Segmentation"),
    ],
)
def test_paired_knows_the_usual_folders(tmp_path: Path, images: str, masks: str, touch: Any, pairs: Any) -> None:
    touch(tmp_path, f"{images}/a.png", f"{masks}/a.png")
    assert detect(tmp_path) == "paired"
    assert pairs(paired(tmp_path)) == [("a.png", "a.png")]


def test_paired_takes_images_and_masks_side_by_side(tmp_path: Path, touch: Any, pairs: Any, refusals: Any) -> None:
    found = paired(touch(tmp_path, "a.png", "a_mask.png", "b.png", "c_mask.png"))
    assert pairs(found) == [("a.png", "a_mask.png")]
    assert refusals(found) == {"b.png": "image has no mask", "c_mask.png": "mask has no image"}


@pytest.mark.parametrize("form", ["{split}/images/{name}.png {split}/masks/{name}.png",
                                  "images/{split}/{name}.png masks/{split}/{name}.png",
                                  "{split}/{name}.png {split}/{name}_mask.png"])  # fmt: skip
def test_paired_keeps_the_split_of_folders_and_tells_their_names_apart(tmp_path: Path, form: str, touch: Any) -> None:
    splits = {"train": "training", "valid": "validation", "test": "test"}
    for folder in splits:
        touch(tmp_path, *form.format(split=folder, name=1).split())
    assert detect(tmp_path) == "paired"
    items, refused = paired(tmp_path)
    assert {item.group: item.official for item in items} == {f"{folder}/1": split for folder, split in splits.items()}
    assert not refused


def test_paired_names_a_split_without_masks(tmp_path: Path, touch: Any, pairs: Any, refusals: Any) -> None:
    found = paired(touch(tmp_path, "train/images/a.png", "train/masks/a.png", "test/b.png"))
    assert pairs(found) == [("a.png", "a.png")]
    assert refusals(found) == {"test": "has no masks; passed over"}


def test_paired_refuses_several_folders_of_masks_by_name(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "labels/a.png")
    assert detect(tmp_path) == "paired"
    with pytest.raises(InputError, match=r"several folders of masks \(labels/, masks/\); leave one"):
        paired(tmp_path)


def test_paired_does_not_mind_labels_that_are_no_pictures(tmp_path: Path, touch: Any, pairs: Any) -> None:
    assert pairs(paired(touch(tmp_path, "images/a.png", "masks/a.png", "labels/a.txt"))) == [("a.png", "a.png")]


@pytest.mark.parametrize("refused", ["images/a", "masks/a"])
def test_the_partner_of_a_refused_file_is_not_refused_besides(tmp_path: Path, refused: str) -> None:
    for name in ("images/a", "masks/a", "images/b", "masks/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        kind = "gif" if name == refused else "png"
        Image.new("L", (4, 4)).save(tmp_path / f"{name}.{kind}")
    report = index_dataset(tmp_path, "paired", out=tmp_path / "out")
    assert [error.source for error in report.refused] == [str(tmp_path / f"{refused}.gif")]
