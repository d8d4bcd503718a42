from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_lists import known

from delineate.pipelines.datasets.layouts import LAYOUTS, nifti
from delineate.pipelines.imaging.item import Drawn


def write_list(source: Path, **entries: Any) -> Path:
    (source / "dataset.json").write_text(json.dumps(entries))
    return source


# Medical Segmentation Decathlon


@pytest.fixture
def decathlon(tmp_path: Path, touch: Any) -> Path:
    touch(tmp_path, *(f"{folder}Tr/la_00{i}.nii.gz" for i in (3, 4) for folder in ("images", "labels")))
    touch(tmp_path, "imagesTs/la_001.nii.gz", "imagesTr/._la_003.nii.gz")
    training = [{"image": f"./imagesTr/la_00{i}.nii.gz", "label": f"./labelsTr/la_00{i}.nii.gz"} for i in (3, 4)]
    return write_list(tmp_path, training=training, test=["./imagesTs/la_001.nii.gz"], modality={"0": "MRI"})


def test_a_decathlon_is_read_by_its_list(decathlon: Path) -> None:
    items, refused = nifti(decathlon)
    assert not refused
    assert [(item.group, len(item.label)) for item in items] == [("la_003", 1), ("la_004", 1), ("la_001", 0)]
    assert items[0].file == decathlon / "imagesTr/la_003.nii.gz"


@pytest.mark.parametrize("name", ["../../outside.nii.gz", "imagesTr/../../outside.nii.gz", "/etc/outside.nii.gz"])
@pytest.mark.parametrize("key", ["image", "label"])
def test_names_that_lead_out_of_the_folder_are_refused(decathlon: Path, name: str, key: str) -> None:
    (decathlon.parent / "outside.nii.gz").touch()
    listed = json.loads((decathlon / "dataset.json").read_text())
    listed["training"][1][key] = name
    items, refused = nifti(write_list(decathlon, **listed))
    assert [item.group for item in items] == ["la_003", "la_001"]
    assert [error.reason for error in refused] == [f"entry 2 names '{name}', which lies outside of the folder"]


@pytest.mark.parametrize("name", ["imagesTr/missing.nii.gz", "dataset.json", "imagesTr", 7, None, ["a"], "x" * 5000])
def test_a_listed_file_that_is_not_there_is_refused(decathlon: Path, name: Any) -> None:
    listed = json.loads((decathlon / "dataset.json").read_text())
    listed["training"][1]["image"] = name
    items, refused = nifti(write_list(decathlon, **listed))
    assert len(items) == 2
    assert [error.reason for error in refused] == [f"entry 2 names {str(name)!r}, which is no volume here"]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"training": 7}', '{"training": ["a"]}', "[" * 100_000])
def test_a_list_that_says_nothing_is_passed_over_for_the_folders(decathlon: Path, text: str) -> None:
    (decathlon / "dataset.json").write_text(text)
    assert [(item.group, len(item.label)) for item in nifti(decathlon)[0]] == [
        ("la_003", 1),
        ("la_004", 1),
        ("la_001", 0),
    ]


# nnU-Net


@pytest.fixture
def nnunet(tmp_path: Path, touch: Any) -> Path:
    cases = ("BRATS_001", "BRATS_002")
    touch(tmp_path, *(f"imagesTr/{case}_000{i}.nii.gz" for case in cases for i in range(3)), "imagesTs/X_0000.nii.gz")
    touch(tmp_path, *(f"imagesTs/X_000{i}.nii.gz" for i in range(3)), *(f"labelsTr/{case}.nii.gz" for case in cases))
    return write_list(tmp_path, channel_names={"0": "T1"}, labels={"background": 0, "tumour": 1}, numTraining=2)


def test_the_modalities_of_a_case_are_one_item(nnunet: Path) -> None:
    items, refused = nifti(nnunet)
    assert not refused
    assert [(item.group, len(item.label)) for item in items] == [("BRATS_001", 1), ("BRATS_002", 1), ("X", 0)]
    folder = nnunet / "imagesTr"
    assert items[0].file == folder / "BRATS_001_0000.nii.gz"
    assert items[0].files[1:] == (folder / "BRATS_001_0001.nii.gz", folder / "BRATS_001_0002.nii.gz")


def test_the_list_of_the_first_nnunet_names_cases_and_not_files(nnunet: Path) -> None:
    entry = {"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}
    assert len(nifti(write_list(nnunet, training=[entry]))[0]) == 3


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_case_that_lacks_a_modality_is_refused_once(nnunet: Path, number: int) -> None:
    (nnunet / f"imagesTr/BRATS_001_000{number}.nii.gz").unlink()
    items, refused = nifti(nnunet)
    assert [item.group for item in items] == ["BRATS_002", "X"]
    assert [error.reason for error in refused] == [f"lacks the modality BRATS_001_000{number}"]


# Folders of equal names


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ", ".mha", ".mhd", ".nrrd", ".nhdr"])
def test_images_and_labels_are_paired_by_name(tmp_path: Path, suffix: str, touch: Any, pairs: Any) -> None:
    found = nifti(touch(tmp_path, f"images/a.b{suffix}", f"labels/a.b{suffix}", "labels/notes.txt"))
    assert pairs(found) == [(f"a.b{suffix}", f"a.b{suffix}")]
    assert found[0][0].group == "a.b"
    assert not found[1]


@pytest.mark.parametrize("ending", ["", "_seg"])
def test_numbers_at_the_end_are_no_modalities_where_labels_have_them(tmp_path: Path, ending: str, touch: Any) -> None:
    names = [f"case_000{i}" for i in (0, 1)]
    found = nifti(touch(tmp_path, *(f"images/{a}.nii" for a in names), *(f"labels/{a}{ending}.nii" for a in names)))
    assert [(item.group, item.files[1:]) for item in found[0]] == [("case_0000", ()), ("case_0001", ())]


def test_what_stands_before_images_is_the_class(tmp_path: Path, touch: Any) -> None:
    touch(tmp_path, *(f"{kind}_{folder}/1.nii" for kind in ("fixed", "moving") for folder in ("images", "labels")))
    assert [(item.group, known(item)) for item in nifti(tmp_path)[0]] == [
        ("1", {"class": "fixed"}),
        ("1", {"class": "moving"}),
    ]


def test_what_has_no_counterpart_is_refused(tmp_path: Path, touch: Any, refusals: Any) -> None:
    found = nifti(touch(tmp_path, "images/a.nii", "images/b.nii", "labels/b.nii", "labels/c_seg.nii"))
    assert [item.group for item in found[0]] == ["b"]
    assert refusals(found) == {"a.nii": "image has no mask", "c_seg.nii": "mask has no image"}


def test_two_files_of_one_case_are_refused(tmp_path: Path, touch: Any, refusals: Any) -> None:
    found = nifti(touch(tmp_path, "images/a.nii", "images/a.nii.gz", "labels/a.nii"))
    assert not found[0]
    assert set(refusals(found)) == {"a.nii", "a.nii.gz"}


# One folder


@pytest.mark.parametrize(
    "ending", ["_seg", "_label", "_mask", "-label", ".seg", "_seg-manual", "_gmseg_manual", "_labels", "_dseg"]
)
def test_a_label_is_named_after_its_volume(tmp_path: Path, ending: str, touch: Any, pairs: Any) -> None:
    names = ("sub-1_T2w.nii.gz", f"sub-1_T2w{ending}.nii.gz")
    found = nifti(touch(tmp_path, *names, "sub-1_T2w.json", "._sub-1_T2w.nii.gz"))
    assert pairs(found) == [names]
    assert not found[1]


def test_volumes_are_unlabelled_where_none_has_a_label(tmp_path: Path, touch: Any) -> None:
    items, refused = nifti(touch(tmp_path, "a.nii", "b.nii"))
    assert [(item.group, item.label) for item in items] == [("a", ()), ("b", ())]
    assert not refused


def test_a_volume_without_label_among_labelled_ones_is_refused(tmp_path: Path, touch: Any, refusals: Any) -> None:
    assert refusals(nifti(touch(tmp_path, "a.nii", "a_seg.nii", "b.nii"))) == {"b.nii": "image has no mask"}


def test_two_labels_of_one_volume_are_refused(tmp_path: Path, touch: Any, refusals: Any) -> None:
    assert set(refusals(nifti(touch(tmp_path, "a.nii", "a_seg.nii", "a_mask.nii")))) == {"a_seg.nii", "a_mask.nii"}


def test_a_folder_without_volumes_has_another_layout(tmp_path: Path, touch: Any) -> None:
    assert not LAYOUTS["nifti"].matches(touch(tmp_path, "a.png", "images/a.png", "labels/a.png"))


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "PZ", "2": "TZ", "3": "ignore"},
        {"background": 0, "PZ": 1, "TZ": 2, "ignore": 3},
        {"background": 0, "PZ": [1], "TZ": 2, "ignore": 3},
    ],
)
def test_labels_of_a_dataset_json_are_structures(
    tmp_path: Path, touch: Callable[..., Path], labels: dict[str, Any]
) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    (item,), (remark,) = nifti(tmp_path)
    assert item.structures == {"PZ": Drawn(values=(1,)), "TZ": Drawn(values=(2,))}
    assert "ignore label (3)" in remark.reason


def test_regions_of_nnu_net_may_be_nested_and_one_label_is_no_list(tmp_path: Path, touch: Callable[..., Path]) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    for labels, structures in (
        ({"background": 0, "whole_tumour": [1, 2], "core": 2}, {"whole tumour": (1, 2), "core": (2,)}),
        ({"background": 0, "liver": 1}, {}),
    ):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
        found = nifti(tmp_path)[0][0].structures
        assert found == {name: Drawn(values=values) for name, values in structures.items()}
