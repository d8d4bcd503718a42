"""DICOM Segmentations: read back by highdicom to the same mask, from every kind of source."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_files import write_series
from dicom_objects import MODEL, PATIENT, STRUCTURES, cine, enhanced, errors, outlined, radiograph, validators
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from delineate.pipelines.core.errors import InputError, SkippedError
from delineate.pipelines.imaging.dicom import find_series, read_header, read_seg_mask, seg_references
from delineate.pipelines.imaging.dicom.series import read_slices
from delineate.pipelines.imaging.objects import Outlined, encode
from delineate.pipelines.imaging.objects.seg import build
from delineate.pipelines.imaging.structures import Code, Structure, colours_of

Frames = list[tuple[Path, int]]


def ct(folder: Path, **attributes: str) -> Frames:
    voxels = np.random.default_rng(2).integers(-200, 300, (30, 20, 4), dtype=np.int16)
    facts = PATIENT | {"FrameOfReferenceUID": generate_uid(), "SliceThickness": "4"} | attributes
    write_series(folder, voxels, np.diag([1.5, 2, 4, 1]), **{**facts, "SeriesInstanceUID": generate_uid()})
    (series,), _ = find_series(folder.iterdir())
    return [(one.path, one.frame) for one in read_slices(series)]


def sources(kind: str, folder: Path) -> Frames:
    if kind == "radiograph":
        return [(radiograph(folder / "a.dcm"), 0)]
    if kind == "film":
        return [(path, number) for path in [cine(folder / "a.dcm")] for number in range(4)]
    if kind == "frame of a film":
        return [(cine(folder / "a.dcm"), 2)]
    if kind == "series":
        return ct(folder)
    if kind == "series without frame of reference":
        return ct(folder, FrameOfReferenceUID="")
    (series,), _ = find_series([enhanced(folder / "a.dcm")])
    frames = [(one.path, one.frame) for one in read_slices(series)]
    return frames if kind == "enhanced" else frames[1:2]


KINDS = ("radiograph", "film", "frame of a film", "series", "series without frame of reference")
ORDER = {"series": -1}  # highdicom stores by place, counted the other way
ALL = (*KINDS, "enhanced", "frame of an enhanced one")


def written(path: Path, result: Outlined) -> hd.seg.Segmentation:
    path.write_bytes(encode("seg", result))
    return hd.seg.segread(path)


@pytest.mark.parametrize("kind", ALL)
def test_highdicom_reads_the_same_masks_on_the_same_frames(tmp_path: Path, kind: str) -> None:
    frames = sources(kind, tmp_path)
    result = outlined(frames)
    seg = written(tmp_path / "seg.dcm", result)
    assert seg.NumberOfFrames == 2 * len(frames)  # empty frames, too
    for place, (path, frame) in enumerate(frames):
        uid = read_header(path).SOPInstanceUID
        if "NumberOfFrames" in read_header(path):
            found = seg.get_pixels_by_source_frame(uid, [frame + 1], assert_missing_frames_are_empty=False)
        else:
            found = seg.get_pixels_by_source_instance([uid])
        np.testing.assert_array_equal(found[0], np.moveaxis(result.masks[:, place], 0, -1))


@pytest.mark.parametrize("kind", ALL)
def test_our_reader_and_pydicom_find_the_same_masks(tmp_path: Path, kind: str) -> None:
    frames = sources(kind, tmp_path)
    result = outlined(frames)
    written(tmp_path / "seg.dcm", result)
    for place, (path, frame) in enumerate(frames):
        for segment in (1, 2):
            mask = read_seg_mask(tmp_path / "seg.dcm", read_header(path).SOPInstanceUID, frame + 1, (20, 30), [segment])
            np.testing.assert_array_equal(mask, result.masks[segment - 1, place])
    stored = pydicom.dcmread(tmp_path / "seg.dcm").pixel_array.sum()
    assert stored == result.masks.sum()


def test_empty_masks_keep_their_frames(tmp_path: Path) -> None:
    frames = ct(tmp_path)
    seg = written(tmp_path / "seg.dcm", outlined(frames, masks=np.zeros((2, 4, 20, 30), np.uint8)))
    assert seg.NumberOfFrames == 8
    assert not seg.pixel_array.any()


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_kept_to_a_255th(tmp_path: Path, kind: str) -> None:
    result = outlined(sources(kind, tmp_path), seg_type="fractional")
    seg = written(tmp_path / "seg.dcm", result)
    found = seg.pixel_array.reshape(result.masks.shape)[:, :: ORDER.get(kind, 1)]
    np.testing.assert_array_equal(found, np.around(result.probabilities * 255))


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_map_has_a_number_a_structure(tmp_path: Path, kind: str) -> None:
    result = outlined(sources(kind, tmp_path), seg_type="labelmap")
    result.masks[1] &= 1 - result.masks[0]
    seg = written(tmp_path / "seg.dcm", result)
    found = seg.pixel_array.reshape(result.masks.shape[1:])[:: ORDER.get(kind, 1)]
    np.testing.assert_array_equal(found, result.masks[0] + 2 * result.masks[1])
    with pytest.raises(SkippedError, match="not an image"):
        read_header(tmp_path / "seg.dcm")


def test_a_label_map_of_what_overlaps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Säume shares"):
        encode("seg", outlined([(radiograph(tmp_path / "a.dcm"), 0)], seg_type="labelmap"))


@pytest.mark.parametrize("kind", ALL)
def test_the_same_twice_is_the_same_to_the_byte(tmp_path: Path, kind: str) -> None:
    frames = sources(kind, tmp_path)
    assert encode("seg", outlined(frames)) == encode("seg", outlined(frames))


def test_other_pixels_thresholds_or_weights_are_another_object_of_fitting_series(tmp_path: Path) -> None:
    frames = [(radiograph(tmp_path / "a.dcm"), 0)]
    one = build(outlined(frames))
    other_mask = build(outlined(frames, masks=np.zeros((2, 1, 20, 30), np.uint8)))
    other_model = build(outlined(frames, model=MODEL.__class__("skin_lesion", hash="cd" * 32)))
    assert len({one.SOPInstanceUID, other_mask.SOPInstanceUID, other_model.SOPInstanceUID}) == 3
    assert one.SeriesInstanceUID == other_mask.SeriesInstanceUID != other_model.SeriesInstanceUID


def test_it_belongs_to_the_patient_and_study_and_names_the_model(tmp_path: Path) -> None:
    japanese = {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"}
    path = radiograph(tmp_path / "a.dcm", **japanese)
    seg = written(tmp_path / "seg.dcm", outlined([(path, 0)]))
    source = pydicom.dcmread(path)
    for keyword in ("PatientID", "PatientBirthDate", "PatientAge", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert seg[keyword].value == source[keyword].value
    assert str(seg.PatientName) == "Yamada^Tarou=山田^太郎"
    assert seg.SpecificCharacterSet == "ISO_IR 192"
    assert (seg.PatientOrientation, seg.ContentCreatorName) == (["L", "F"], "")
    assert (seg.InstanceNumber, seg.ContentDate) == (5, "20200102")
    first, second = seg.SegmentSequence
    assert [one.SegmentLabel for one in (first, second)] == [one.name for one in STRUCTURES]
    kind, other = (one.SegmentedPropertyTypeCodeSequence[0] for one in (first, second))
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("52988006", "SCT", "Lesion")
    assert (other.CodeValue, other.CodingSchemeDesignator, other.CodeMeaning) == ("Säume", "99DELINEATE", "Säume")
    assert first.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Morphologically Abnormal Structure"
    assert first.AnatomicRegionSequence[0].CodeMeaning == "Breast"
    algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("skin_lesion", "0.3.0")
    assert MODEL.hash in algorithm.AlgorithmParameters
    colours = [hd.color.CIELabColor.from_dicom_value(one.RecommendedDisplayCIELabValue) for one in (first, second)]
    for colour, wanted in zip(colours, colours_of(STRUCTURES), strict=True):
        np.testing.assert_allclose(colour.to_rgb(), wanted, atol=2)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seg_type", ["binary", "fractional"])
def test_validators_find_no_error(tmp_path: Path, kind: str, seg_type: str) -> None:
    validators()
    frames = sources(kind, tmp_path)
    written(tmp_path / "seg.dcm", outlined(frames, seg_type=seg_type))
    assert errors("dciodvfy", tmp_path / "seg.dcm") == []
    assert errors("dcentvfy", *{path for path, _ in frames}, tmp_path / "seg.dcm") == []


THORAX = Code("SCT", "816094009", "Thorax")
ABNORMAL = Code("SCT", "49755003", "Morphologically Abnormal Structure")


def coded(path: Path) -> hd.seg.Segmentation:
    """Of two structures: one names its category and region, the other leaves them to its name and its source."""
    structures = (Structure("shadow", category=ABNORMAL, region=THORAX), Structure("heart"))
    return written(path / "seg.dcm", outlined([(radiograph(path / "a.dcm"), 0)], structures=structures))


def test_category_and_region_are_those_of_the_structure_else_of_its_name_and_source(tmp_path: Path) -> None:
    def named(item: Dataset) -> Code:
        return Code(item.CodingSchemeDesignator, item.CodeValue, item.CodeMeaning)

    shadow, heart = coded(tmp_path).SegmentSequence
    assert named(shadow.SegmentedPropertyCategoryCodeSequence[0]) == ABNORMAL
    assert named(shadow.AnatomicRegionSequence[0]) == THORAX
    assert heart.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert heart.AnatomicRegionSequence[0].CodeMeaning == "Breast"  # the source's body part


def test_validators_find_no_error_in_categories_and_regions(tmp_path: Path) -> None:
    validators()
    coded(tmp_path)
    assert errors("dciodvfy", tmp_path / "seg.dcm") == []


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_source_without_a_sound_uid_is_refused(tmp_path: Path, keyword: str) -> None:
    path = radiograph(tmp_path / "a.dcm", **{keyword: "../x"})
    with pytest.raises(InputError, match=f"no sound {keyword}"):
        encode("seg", outlined([(path, 0)]))


def test_a_source_that_is_no_dicom_is_refused() -> None:
    with pytest.raises(InputError, match=r"a\.png: is no DICOM, and SEG needs a DICOM source"):
        encode(
            "seg", outlined([]).__class__("a.png", (), *[np.zeros((2, 1, 2, 2))] * 2, STRUCTURES, MODEL, lambda: None)
        )


def test_values_that_break_the_standard_are_left_out(tmp_path: Path) -> None:
    path = radiograph(tmp_path / "a.dcm", PatientSex="X", StudyDate="2020-01-02", PatientAge="sixty")
    seg = written(tmp_path / "seg.dcm", outlined([(path, 0)]))
    assert (seg.PatientSex, seg.StudyDate, "PatientAge" in seg) == ("", "", False)


def test_a_result_is_nobodys_annotation(tmp_path: Path) -> None:
    written(tmp_path / "seg.dcm", outlined([(radiograph(tmp_path / "a.dcm"), 0)]))
    with pytest.raises(SkippedError, match="result of Delineate"):
        seg_references(tmp_path / "seg.dcm")
