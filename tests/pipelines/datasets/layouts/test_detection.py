from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from shared_data import SHARED

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.datasets.layouts import LAYOUTS, detect, explain

DICOM = b"\0" * 128 + b"DICM"
FORMS: dict[str, list[tuple[str, ...]]] = {
    "isic": [
        tuple(
            f"ISIC2018_{name}"
            for i in (1, 2)
            for name in (
                f"Task1-2_Training_Input/ISIC_000000{i}.jpg",
                f"Task1_Training_GroundTruth/ISIC_000000{i}_segmentation.png",
            )
        )
    ],
    "busi": [
        tuple(f"{above}benign/benign ({i}){end}.png" for i in (1, 2) for end in ("", "_mask", "_mask_1"))
        for above in ("", "Dataset_BUSI_with_GT/")
    ],
    "paired": [
        ("images/a.png", "images/b.png", "masks/a.png", "masks/b.png"),
        ("a.png", "a_mask.png", "b.png", "b_mask.png"),
        ("train/images/a.png", "train/masks/a.png", "test/images/a.png", "test/masks/a.png"),
        ("images/train/a.png", "masks/train/a.png", "images/val/b.png", "masks/val/b.png"),
    ],
    "busbra": [
        ("Images/bus_0001-l.png", "Images/bus_0001-r.png", "Masks/mask_0001-l.png", "Masks/mask_0001-r.png"),
        ("images/bus_0001-l.png", "images/bus_0002-s.png", "masks/bus_0001-l.png", "masks/bus_0002-s.png"),
    ],
    "stu": [
        tuple(f"{above}{name}_{i}.png" for i in (1, 12) for name in ("Test_Image", "mask"))
        for above in ("", "Hospital/")
    ],
    "kvasir": [
        tuple(f"{folder}/cju{i}qkwl35piu0993l0dewe{i}2.jpg" for i in (0, 1) for folder in ("images", "masks")),
        ("images/1.jpg", "images/2.jpg", "masks/1.jpg", "masks/2.jpg", "kavsir_bboxes.json"),
    ],
    "nerve": [
        tuple(f"{above}{name}.tif" for name in ("1_1", "1_1_mask", "12_3", "12_3_mask")) for above in ("", "train/")
    ],
    "hc18": [
        tuple(f"{above}{i}_HC{end}.png" for i in ("000", "010") for end in ("", "_Annotation"))
        for above in ("", "training_set/")
    ],
    "ph2": [
        tuple(
            f"PH2Dataset/PH2 Dataset images/{i}/{i}_{name}"
            for i in ("IMD002", "IMD003")
            for name in (f"Dermoscopic_Image/{i}.bmp", f"lesion/{i}_lesion.bmp", f"roi/{i}_R1_Label4.bmp")
        ),
        ("IMD002.bmp", "IMD002_lesion.bmp", "IMD003.bmp", "IMD003_lesion.bmp"),
        ("images/IMD002.bmp", "masks/IMD002_lesion.bmp", "images/IMD003.bmp", "masks/IMD003_lesion.bmp"),
    ],
    "nifti": [
        ("a.nii.gz", "a_seg.nii.gz", "b.nii.gz", "b_seg.nii.gz"),
        ("images/a.nii", "labels/a.nii", "images/b.nii", "labels/b.nii"),
        ("images/a.nii", "masks/a.nii", "images/b.nii", "masks/b.nii"),
        ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz"),
    ],
}
CASES = [(name, files) for name, forms in FORMS.items() for files in forms]


@pytest.mark.parametrize(("name", "files"), CASES)
def test_a_layout_is_recognised_by_its_names(tmp_path: Path, name: str, files: tuple[str, ...], touch: Any) -> None:
    assert detect(touch(tmp_path, *files)) == name


@pytest.mark.parametrize(("name", "files"), CASES)
def test_pairs_do_not_depend_on_the_order_of_the_folder(
    tmp_path: Path, name: str, files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, touch: Any, pairs: Any
) -> None:
    touch(tmp_path, *files)
    expected = pairs(LAYOUTS[name].read(tmp_path))
    entries, steps = Path.iterdir, os.walk
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(entries(self), reverse=True))
    monkeypatch.setattr(os, "walk", lambda top: ((folder, a, b[::-1]) for folder, a, b in steps(top)))
    assert len(expected) == 2
    assert pairs(LAYOUTS[name].read(tmp_path)) == expected


def test_the_reason_tells_what_was_seen(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, *FORMS["nerve"][1])
    assert explain(tmp_path) == ("nerve", "holds 2 files N_M.tif with N_M_mask.tif")


def test_a_table_goes_before_the_folders_it_names(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, *FORMS["paired"][0])
    (tmp_path / "table.csv").write_text("image,label\nimages/a.png,masks/a.png\n")
    assert explain(tmp_path) == ("csv", "table.csv has the columns image and label")
    assert detect(tmp_path / "table.csv") == "csv"


def test_a_table_of_other_things_does_not_hide_a_layout(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, *FORMS["paired"][0])
    (tmp_path / "metadata.csv").write_text("image_id,age\na,50\n")
    assert detect(tmp_path) == "paired"


def test_dicom_files_are_found_at_any_depth_and_without_suffix(tmp_path: Path) -> None:
    (tmp_path / "p1/study").mkdir(parents=True)
    (tmp_path / "p1/study/IM0001").write_bytes(DICOM)
    assert explain(tmp_path) == ("dicom", "holds DICOM files, e.g. p1/study/IM0001")


def test_dicom_files_with_masks_in_a_parallel_folder_are_no_pictures(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, "images/a.dcm", "masks/a.png")
    (tmp_path / "images/a.dcm").write_bytes(DICOM)
    assert detect(tmp_path) == "dicom"


def test_a_volume_named_like_a_folder_of_dicom_files_is_its_label(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, "ct1/1.dcm", "ct1_seg.nii.gz")
    (tmp_path / "ct1/1.dcm").write_bytes(DICOM)
    assert detect(tmp_path) == "dicom"


def test_an_empty_folder_is_refused_with_the_page_of_the_layouts(tmp_path: Path, touch: Any) -> None:
    with pytest.raises(
        InputError,
        match=r"is an empty folder; put images and their masks there, .*docs/data\.md",
    ):
        detect(touch(tmp_path, ".DS_Store"))


def test_classes_that_hold_folders_of_images_and_masks_are_not_busi(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, *(f"{name}/{part}/a.png" for name in ("benign", "malignant") for part in ("img", "seg")))
    with pytest.raises(InputError, match=r"benign/ \(paired\), malignant/ \(paired\); index them as one"):
        detect(tmp_path)


def test_an_unknown_layout_is_refused_with_what_was_seen(tmp_path: Path, touch: Any) -> None:
    with pytest.raises(InputError, match=r"has no known layout \(it holds notes.txt, scans\)"):
        detect(touch(tmp_path, "scans/a.txt", "notes.txt"))


def test_a_folder_of_two_layouts_asks_for_one(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "benign/benign (1).png")
    with pytest.raises(InputError, match=r"several layouts \(busi, paired\); name one"):
        detect(tmp_path)


@pytest.mark.parametrize(("name", "reason"), [("nowhere", "does not exist"), ("a.txt", "is not a folder")])
def test_what_is_neither_a_folder_nor_a_table_is_refused(tmp_path: Path, name: str, reason: str, touch: Any) -> None:
    with pytest.raises(InputError, match=reason):
        detect(touch(tmp_path, "a.txt") / name)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data")
@pytest.mark.parametrize(
    ("folder", "name", "items", "groups", "refused"),
    [
        ("ISIC2018", "isic", 1989, 1989, 0),
        ("ISIC2017", "isic", 54, 54, 0),
        ("Dataset_BUSI_with_GT", "busi", 585, 585, 0),
        ("BUSBRA", "busbra", 478, 277, 0),
        ("Kvasir-SEG", "kvasir", 240, 240, 1),  # a remark on patients
        ("ultrasound-nerve-jpg", "paired", 62, 62, 0),
        ("HAM10000", "paired", 8, 8, 0),
        ("usgra-seg", "paired", 25, 25, 0),
        ("HC18", "hc18", 34, 29, 0),
        ("HC18/training_set", "hc18", 34, 29, 0),
        ("ultrasound-nerve-segmentation", "nerve", 80, 27, 0),
        ("nifti/prostate_us_mr", "nifti", 16, 8, 0),
        ("nifti/spleen_ct", "nifti", 1, 1, 0),
        ("nifti/spine_mr_sct", "nifti", 2, 2, 0),
        ("nifti/unlabelled", "nifti", 3, 3, 0),
        ("nifti/ct_totalseg_sm", "nifti", 2, 2, 1),  # its label has another name
        ("dicom/series_ct_head_ge", "dicom", 28, 1, 0),
        ("dicom/mr", "dicom", 26, 3, 0),  # two files of ten frames
        ("dicom/seg", "dicom", 1, 1, 4),  # drawn on images that are not there
        ("dicom/not_images_or_broken", "dicom", 0, 0, 7),
    ],
)
def test_real_folders_are_recognised_and_read(folder: str, name: str, items: int, groups: int, refused: int) -> None:
    assert detect(SHARED / folder) == name
    found, errors = LAYOUTS[name].read(SHARED / folder)
    assert (len(found), len({item.group for item in found}), len(errors)) == (items, groups, refused)
