from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage
from shared_data import SHARED

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.dicom import is_seg, read_dicom, read_seg_mask, seg_references

RNG = np.random.default_rng(0)
MASKS = RNG.integers(0, 2, (3, 5, 7), dtype=np.uint8)  # 35 bits a frame: frames begin within a byte
DICOM = SHARED / "dicom"
needs_shared = pytest.mark.skipif(not DICOM.is_dir(), reason="needs shared/data")

Write = Callable[..., Path]


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def frame(segment: int, uid: str, number: int | None = None, preserved: str = "YES") -> Dataset:
    numbered = {} if number is None else {"ReferencedFrameNumber": number}
    source = item(ReferencedSOPInstanceUID=uid, SpatialLocationsPreserved=preserved, **numbered)
    return item(
        DerivationImageSequence=[item(SourceImageSequence=[source])],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
    )


def write_seg(write: Write, frames: list[Dataset], values: np.ndarray = MASKS, **attributes: Any) -> Path:
    packed = np.packbits(values.ravel(), bitorder="little").tobytes()
    binary = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": packed + b"\0" * (len(packed) % 2)}
    facts = {
        "SOPClassUID": SegmentationStorage,
        "SegmentationType": "BINARY",
        "SegmentSequence": [item(SegmentNumber=number) for number in (1, 2)],
        "PerFrameFunctionalGroupsSequence": frames,
    }
    return write(values, **(facts | ({} if "SegmentationType" in attributes else binary) | attributes))


@pytest.fixture
def seg(write: Write) -> Path:
    return write_seg(write, [frame(1, "1.2"), frame(2, "1.2"), frame(1, "1.3")])


@needs_shared
@pytest.mark.parametrize("name", ["seg_image_ct_binary", "seg_image_ct_binary_overlap", "liver"])
def test_masks_are_those_of_highdicom(name: str) -> None:
    path = DICOM / f"seg/{name}.dcm"
    theirs = highdicom.seg.segread(path)
    shape = (theirs.Rows, theirs.Columns)
    for uid in seg_references(path):
        expected = theirs.get_pixels_by_source_instance(
            [uid], assert_missing_frames_are_empty=True, ignore_spatial_locations=True
        )[0].any(axis=-1)
        np.testing.assert_array_equal(read_seg_mask(path, uid, None, shape), expected)


@needs_shared
def test_a_liver_is_there() -> None:
    uid = "1.2.392.200103.20080913.113635.2.2009.6.22.21.43.10.23432.1"
    assert read_seg_mask(DICOM / "seg/liver.dcm", uid, 1, (512, 512)).sum() > 1000


@needs_shared
def test_an_image_that_a_seg_does_not_name_has_an_empty_mask() -> None:
    ct = read_dicom(DICOM / "seg/ct_image.dcm")
    path = DICOM / "seg/seg_image_ct_binary.dcm"
    assert ct.sop_uid not in seg_references(path)
    assert not read_seg_mask(path, ct.sop_uid, None, (16, 16)).any()


def test_segments_of_an_image_are_united(seg: Path) -> None:
    np.testing.assert_array_equal(read_seg_mask(seg, "1.2", None, (5, 7)), MASKS[0] | MASKS[1])
    np.testing.assert_array_equal(read_seg_mask(seg, "1.2", 1, (5, 7), [2]), MASKS[1])
    np.testing.assert_array_equal(read_seg_mask(seg, "1.3", None, (5, 7)), MASKS[2])


def test_frames_of_a_source_are_told_apart(write: Write) -> None:
    seg = write_seg(write, [frame(1, "1.2", 1), frame(1, "1.2", 2), frame(1, "1.2", 5)])
    for number, mask in ((1, MASKS[0]), (2, MASKS[1]), (3, 0 * MASKS[0]), (5, MASKS[2])):
        np.testing.assert_array_equal(read_seg_mask(seg, "1.2", number, (5, 7)), mask)


def test_fractions_count_from_a_half(write: Write) -> None:
    values = np.array([[0, 99], [100, 200]], np.uint8)
    seg = write_seg(write, [frame(1, "1.2")], values, SegmentationType="FRACTIONAL", MaximumFractionalValue=200)
    np.testing.assert_array_equal(read_seg_mask(seg, "1.2", None, (2, 2)), [[0, 0], [1, 1]])


def test_a_label_map_holds_segments_by_number(write: Write) -> None:
    values = np.array([[0, 1], [2, 0]], np.uint8)
    seg = write_seg(write, [frame(1, "1.2")], values, SegmentationType="LABELMAP")
    np.testing.assert_array_equal(read_seg_mask(seg, "1.2", None, (2, 2)), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(read_seg_mask(seg, "1.2", None, (2, 2), {2}), [[0, 0], [1, 0]])


def test_sources_are_listed(seg: Path) -> None:
    assert seg_references(seg) == {"1.2", "1.3"}


def test_a_seg_is_told_from_an_image(seg: Path, write: Write) -> None:
    assert is_seg(seg)
    image = write(MASKS[0], name="image.dcm")
    assert not is_seg(image)
    with pytest.raises(InputError, match="is no DICOM SEG but CT Image Storage"):
        seg_references(image)


def test_another_size_is_refused(seg: Path) -> None:
    with pytest.raises(InputError, match="masks of 5 x 7, their image is 7 x 5"):
        read_seg_mask(seg, "1.2", None, (7, 5))


def test_a_segment_that_is_not_there_is_refused(seg: Path) -> None:
    with pytest.raises(InputError, match="has no segment 3, but 1, 2"):
        read_seg_mask(seg, "1.2", None, (5, 7), [1, 3])


def test_a_seg_without_sources_is_refused(write: Write) -> None:
    bare = item(SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)])
    with pytest.raises(InputError, match="does not name the images"):
        read_seg_mask(write_seg(write, [bare, bare, bare]), "1.2", None, (5, 7))


def test_a_seg_on_another_grid_is_refused(write: Write) -> None:
    seg = write_seg(write, [frame(1, "1.2", preserved="NO")] * 3)
    with pytest.raises(InputError, match="not on the grid of its images"):
        read_seg_mask(seg, "1.2", None, (5, 7))


def test_frames_that_are_not_described_are_counted_both_ways(write: Write) -> None:
    path = write_seg(write, [frame(1, "1.2"), frame(2, "1.2"), frame(1, "1.3")], MASKS[:1])
    with pytest.raises(InputError, match="describes 3 frames, but declares 1; "):
        seg_references(path)


def test_frames_of_single_bits_are_told_apart_in_images_too(write: Write) -> None:
    bits = np.packbits(MASKS.ravel(), bitorder="little").tobytes()
    path = write(MASKS, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=bits)
    np.testing.assert_array_equal(read_dicom(path).values, MASKS)
