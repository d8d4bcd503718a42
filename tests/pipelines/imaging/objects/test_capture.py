"""Secondary captures: the picture, and words above it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_objects import cine, errors, outlined, radiograph, validators

from delineate.pipelines.core.errors import SkippedError
from delineate.pipelines.imaging.dicom import read_header
from delineate.pipelines.imaging.objects import encode


def captured(path: Path, source: Path, frame: int = 0) -> pydicom.Dataset:
    path.write_bytes(encode("sc", outlined([(source, frame)])))
    return pydicom.dcmread(path)


def test_the_picture_is_there_unchanged_below_the_words(tmp_path: Path) -> None:
    source = radiograph(tmp_path / "a.dcm")
    capture = captured(tmp_path / "sc.dcm", source)
    picture = outlined([(source, 0)]).picture().pixels
    pixels = capture.pixel_array
    np.testing.assert_array_equal(pixels[-20:, :30], picture)
    assert pixels[:-20].max() > 200  # letters
    assert capture.PhotometricInterpretation == "RGB"


def test_it_says_what_it_is_and_of_what(tmp_path: Path) -> None:
    source = radiograph(tmp_path / "a.dcm", LossyImageCompression="01", LossyImageCompressionRatio="10", Laterality="R")
    capture = captured(tmp_path / "sc.dcm", source)
    assert capture.ImageType == ["DERIVED", "SECONDARY"]
    assert (capture.LossyImageCompression, capture.LossyImageCompressionRatio) == ("01", 10)
    assert (capture.Laterality, capture.PatientOrientation) == ("R", ["L", "F"])
    assert "Research use" in capture.DerivationDescription
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == read_header(source).SOPInstanceUID


def test_a_frame_of_a_film_is_named_by_its_number(tmp_path: Path) -> None:
    capture = captured(tmp_path / "sc.dcm", cine(tmp_path / "a.dcm"), 2)
    assert capture.SourceImageSequence[0].ReferencedFrameNumber == 3
    assert capture.InstanceNumber == 3


@pytest.mark.parametrize("kind", [radiograph, cine])
def test_validators_find_no_error(tmp_path: Path, kind: type) -> None:
    validators()
    source = kind(tmp_path / "a.dcm")
    captured(tmp_path / "sc.dcm", source)
    assert errors("dciodvfy", tmp_path / "sc.dcm") == []
    assert errors("dcentvfy", source, tmp_path / "sc.dcm") == []


def test_the_same_twice_is_the_same_to_the_byte(tmp_path: Path) -> None:
    source = radiograph(tmp_path / "a.dcm")
    assert encode("sc", outlined([(source, 0)])) == encode("sc", outlined([(source, 0)]))


def test_readers_pass_it_over(tmp_path: Path) -> None:
    captured(tmp_path / "sc.dcm", radiograph(tmp_path / "a.dcm"))
    with pytest.raises(SkippedError, match="Delineate drew"):
        read_header(tmp_path / "sc.dcm")
