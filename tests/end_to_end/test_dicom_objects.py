"""DICOM objects through every interface: one mask, one more way out."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_files import write_series
from dicom_objects import PATIENT, errors, radiograph, validators
from PIL import Image
from processes import inside, printed_line, refusal, stock, succeeded
from pydicom.uid import generate_uid
from structured_bundles import structured_bundle

from delineate.pipelines.inference.segmenter import Segmenter

pytestmark = pytest.mark.slow

AFFINE = np.diag([-1.5, -2, 4, 1])  # of a series whose rows and columns run to left and posterior


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    structured_bundle(folder / "chest", False, "ct_slice")
    voxels = np.random.default_rng(2).integers(-200, 300, (24, 20, 5), dtype=np.int16)
    facts = {"FrameOfReferenceUID": generate_uid(), "SliceThickness": "4"}
    write_series(folder / "inputs/ct", voxels, AFFINE, **{**PATIENT, **facts})
    radiograph(folder / "inputs/chest.dcm", SeriesInstanceUID=generate_uid())
    succeeded(inside("segment", "chest", "inputs", "--out", "ours", "--format", "png,nifti,seg,sc,sr", cwd=folder))
    return folder


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_stock_monai_and_python_write_the_same_objects(place: Path) -> None:
    done = inside("segment", "chest", "inputs", "--out", "seg", "--format", "sc,sr", cwd=place)
    line = printed_line(succeeded(done)).replace("--output_dir seg", "--output_dir stock")
    succeeded(stock(*shlex.split(line)[3:], cwd=place))
    for result in Segmenter(place / "chest").segment(place / "inputs"):
        result.save(place / "python", formats=["seg", "sc", "sr"])
    names = {f"{name}_{kind}.dcm" for name in ("chest", "ct") for kind in ("seg", "sc", "sr")}
    for other in ("seg", "stock", "python"):
        assert {path.name for path in (place / other).iterdir()} - {"results.csv", ".lock"} == names
        assert all((place / other / name).read_bytes() == (place / "ours" / name).read_bytes() for name in names)


def test_the_masks_inside_are_those_of_png_and_nifti(place: Path) -> None:
    import nibabel as nib

    for row in table(place / "ours"):
        seg = hd.seg.segread(place / "ours" / row["seg"])
        number = next(one.SegmentNumber for one in seg.SegmentSequence if one.SegmentLabel == row["structure"])
        assert int(row["foreground"]) > 0
        if row["mask"].endswith("png"):
            mask = np.asarray(Image.open(place / "ours" / row["mask"]))[None] // 255
        else:
            mask = np.asarray(nib.load(place / "ours" / row["mask"]).dataobj).transpose(2, 1, 0)
        uids = [image.ReferencedSOPInstanceUID for image in seg.SourceImageSequence]
        found = seg.get_pixels_by_source_instance(uids, segment_numbers=[number])[..., 0]
        np.testing.assert_array_equal(found, mask)


def test_the_table_names_the_objects_and_segments(place: Path) -> None:
    succeeded(inside("segment", "chest", "inputs/chest.dcm", "--out", "alone", "--format", "seg", cwd=place))
    rows = table(place / "alone")
    assert [(row["structure"], row["value"], row["mask"], row["seg"]) for row in rows] == [
        ("heart", "1", "", "chest_seg.dcm"),
        ("left lung", "2", "", "chest_seg.dcm"),
        ("right lung", "3", "", "chest_seg.dcm"),
    ]


def test_again_with_other_formats_replaces_the_files(place: Path, tmp_path: Path) -> None:
    for formats in ("seg,sc", "png", "seg"):
        words = ("--out", str(tmp_path), "--format", formats)
        succeeded(inside("segment", "chest", "inputs/chest.dcm", *words, cwd=place))
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"results.csv", "chest_seg.dcm"}
    assert len(table(tmp_path)) == 3


def test_objects_of_ours_among_the_inputs_are_passed_over(place: Path, tmp_path: Path) -> None:
    radiograph(tmp_path / "in/chest.dcm")
    for name in ("ct_seg.dcm", "ct_sc.dcm"):
        (tmp_path / "in" / name).write_bytes((place / "ours" / name).read_bytes())
    done = inside("segment", str(place / "chest"), "in", "--out", "out", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "1 segmented, 0 refused, 2 skipped"


@pytest.mark.parametrize("name", [f"{name}_{kind}.dcm" for name in ("chest", "ct") for kind in ("seg", "sc", "sr")])
def test_validators_find_no_error(place: Path, name: str) -> None:
    validators()
    sources = [place / "inputs/chest.dcm"] if name.startswith("chest") else sorted((place / "inputs/ct").iterdir())
    assert errors("dciodvfy", place / "ours" / name) == []
    assert errors("dcentvfy", *sources, place / "ours" / name) == []


def test_a_picture_is_refused_by_name_and_the_rest_goes_on(place: Path, tmp_path: Path) -> None:
    radiograph(tmp_path / "in/chest.dcm")
    Image.new("L", (30, 20)).save(tmp_path / "in/a.png")
    done = inside("segment", str(place / "chest"), "in", "--out", "out", "--format", "seg", cwd=tmp_path)
    assert "in/a.png: is no DICOM, and SEG needs a DICOM source" in done.stderr
    assert done.returncode == 1
    assert [row["status"] for row in table(tmp_path / "out")].count("segmented") == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--format", "dcm"), "no format is called 'dcm'"),
        (("--format", "nifti,mha"), "in one format, not in nifti and mha"),
    ],
)
def test_formats_that_do_not_fit_are_one_line(place: Path, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    done = inside("segment", str(place / "chest"), "x.png", "--out", str(tmp_path), *words, cwd=place)
    assert reason in refusal(done)


def test_a_volume_is_refused_where_only_png_is_asked_for(place: Path, tmp_path: Path) -> None:
    done = inside("segment", "chest", "inputs/ct", "--out", str(tmp_path), "--format", "png", cwd=place)
    assert "is a volume, whose mask is not written as png; add nifti to the formats" in done.stderr


def test_one_object_is_saved_under_a_name_of_its_own(place: Path, tmp_path: Path) -> None:
    (result,) = Segmenter(place / "chest").segment(place / "inputs/chest.dcm")
    path = result.save(tmp_path / "x.dcm", formats="seg", seg_type="fractional")
    assert pydicom.dcmread(path).SegmentationType == "FRACTIONAL"
