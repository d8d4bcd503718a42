"""Whatever a file holds, the answer is an image or an `InputError`."""

from __future__ import annotations

import os
import threading
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HEVCMP51,
    MPEG2MPML,
    MPEG4HP41,
    UID,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    TwelveLeadECGWaveformStorage,
)
from shared_data import SHARED

from delineate.pipelines.core.errors import InputError, SkippedError
from delineate.pipelines.imaging.dicom import is_dicom, jpeg_lossless, parsing, read_dicom, read_header
from delineate.pipelines.imaging.dicom.codestreams import Size, codestream_sizes
from delineate.pipelines.imaging.dicom.header import malformed_uids

VALUES = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16)
DICOM = SHARED / "dicom"
LOSSLESS = DICOM / "ct/CTImage.dcm_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm"
needs_shared = pytest.mark.skipif(not DICOM.is_dir(), reason="needs shared/data")

Build = Callable[..., Dataset]
Write = Callable[..., Path]
Save = Callable[[Dataset, Path], Path]


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_dicom(path)
    return caught.value


# headers


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Rows": 65535, "Columns": 65535}, "declares 65535 x 65535, more than 89 million pixels"),
        ({"Rows": 0}, "says Rows is 0"),
        ({"Rows": None}, "says Rows is None"),
        ({"NumberOfFrames": 2**31 - 1}, "declares 2147483647 frames"),
        ({"NumberOfFrames": 5}, "has 384 bytes of pixel data where 5 x 12 x 16 x 1 values take 1920"),
        ({"BitsAllocated": 64}, "stores 16 of 64 bits"),
        ({"BitsStored": 17, "HighBit": 16}, "stores 17 of 16 bits"),
        ({"BitsStored": 12}, "stores 12 of 16 bits, the highest is 15"),
        ({"PixelRepresentation": 7}, "does not say whether its values are signed"),
        ({"PhotometricInterpretation": "CMYK"}, "has the colours CMYK"),
        ({"PhotometricInterpretation": "RGB"}, "has 1 values a pixel, but is RGB"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "has a segmented palette, or none"),
        ({"RescaleSlope": "0"}, "has a RescaleSlope of 0"),
        ({"RescaleSlope": "1e300"}, "is rescaled to values that no 32-bit number holds"),
    ],
)
def test_impossible_headers_are_refused(write: Write, attributes: dict[str, Any], reason: str) -> None:
    assert reason in refusal(write(VALUES, **attributes)).reason


def test_a_giant_is_refused_by_its_header_alone(write: Write) -> None:
    with pytest.raises(InputError, match="more than 89 million pixels"):
        read_header(write(VALUES, Rows=65535, Columns=65535))


def test_missing_pixels_are_refused(build: Build, save: Save, tmp_path: Path) -> None:
    dataset = build(VALUES)
    del dataset.PixelData
    assert refusal(save(dataset, tmp_path / "a.dcm")).reason == "has no pixel data"


@pytest.mark.parametrize("kind", [EncapsulatedPDFStorage, TwelveLeadECGWaveformStorage])
def test_other_objects_are_passed_over_by_name(write: Write, kind: Any) -> None:
    found = refusal(write(VALUES, SOPClassUID=kind))
    assert isinstance(found, SkippedError)
    assert found.reason == f"is not an image ({kind.name.removesuffix(' Storage')})"


@pytest.mark.parametrize(
    ("syntax", "name", "remedy"),
    [
        (MPEG2MPML, "MPEG2 Main Profile", "write the film out (gdcmraw"),
        (MPEG4HP41, "MPEG-4 AVC/H.264 High Profile", "write the film out (gdcmraw"),
        (HEVCMP51, "HEVC/H.265 Main Profile", "write the film out (gdcmraw"),
        (UID("1.2.840.10008.1.2.4.55"), "JPEG Full Progression", "decompress it (dcmdjpeg FILE NEW)"),
        (UID("1.2.840.10008.1.2.4.94"), "JPIP Referenced", "export it with its pixels"),
        (HTJ2KLossless, "High-Throughput JPEG 2000", "export it as Explicit VR Little Endian"),
        (UID("1.2.3.4"), "1.2.3.4", "export it as Explicit VR Little Endian"),
    ],
)
def test_other_transfer_syntaxes_are_named_with_what_helps(
    build: Build, save: Save, tmp_path: Path, syntax: UID, name: str, remedy: str
) -> None:
    dataset = build(VALUES, PixelData=encapsulate([b"\0\0"]))
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset["PixelData"].VR = "OB"
    path = save(dataset, tmp_path / "a.dcm")
    raw = path.read_bytes()
    old, new = (b"UI" + len(one).to_bytes(2, "little") + one for one in map(padded, (JPEGLSLossless, syntax)))
    length = int.from_bytes(raw[140:144], "little") + len(new) - len(old)
    path.write_bytes((raw[:140] + length.to_bytes(4, "little") + raw[144:]).replace(old, new))
    found = refusal(path)
    assert name in found.reason
    assert remedy in found.remedy


def padded(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", ["NaN", "inf", "-inf", "abc", "1e999"])
def test_rescale_values_that_are_no_numbers_are_not_read_as_none(write: Write, name: str, value: str) -> None:
    path = write(VALUES, **{name: "1.2345678"})
    path.write_bytes(path.read_bytes().replace(b"1.2345678 ", value.encode().ljust(10)))
    found = refusal(path)
    assert f"has a {name} that is no finite number ('{value}" in found.reason
    assert found.remedy == "export it again with sound rescale values"


def test_a_12_bit_jpeg_is_called_so_and_what_decompresses_it_named(write: Write) -> None:
    content = bytearray(jpeg("JPEG", (12, 16)))
    content[content.index(b"\xff\xc0") + 4] = 12
    path = write(VALUES, PixelData=encapsulate([bytes(content)]), packed=JPEGExtended12Bit)
    assert refusal(path).reason == "is JPEG of 12 bits; 8 are read"
    assert refusal(path).remedy == "decompress it (dcmdjpeg FILE NEW, or gdcmconv --raw FILE NEW)"


def test_jpeg_ls_of_few_bits_is_called_so(write: Write) -> None:
    few = (VALUES % 64).astype(np.uint8)
    path = write(few, syntax=JPEGLSLossless, BitsStored=6, HighBit=5)
    assert (refusal(path).reason, refusal(path).remedy) == (
        "is JPEG-LS of 6 bits; 8 to 16 are read",
        "decompress it (dcmdjpls FILE NEW)",
    )


def test_without_gdcm_its_package_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(VALUES, syntax=JPEGLSLossless)
    monkeypatch.setattr(jpeg_lossless, "find_spec", lambda name: None)
    assert "python-gdcm, which decodes these, is not installed" in refusal(path).reason
    assert refusal(path).remedy == "pip install python-gdcm"


def test_a_picture_named_like_dicom_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(jpeg("JPEG", (12, 16)))
    assert not is_dicom(tmp_path / "a.dcm")
    assert refusal(tmp_path / "a.dcm").reason == "is no DICOM file (it holds JPEG)"


@pytest.mark.parametrize("value", ["../..", "1.2.3." + "4" * 64, "1.2.x", "1..2", "1.2/3"])
def test_uids_that_break_the_form_are_never_used(write: Write, value: str) -> None:
    path = write(VALUES, SOPInstanceUID="1.2.3", SeriesInstanceUID="1.2.4")
    dataset = dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
            dataset[keyword] = DataElement(keyword, "UI", value, validation_mode=IGNORE)
        dataset.save_as(path, enforce_file_format=False)
    image = read_dicom(path)
    assert (image.sop_uid, image.series_uid) == ("", "")
    words = malformed_uids(path, read_header(path))
    assert [word.split()[2] for word in words] == ["SeriesInstanceUID", "SOPInstanceUID"]
    assert repr(value)[:60] in words[0]


def test_sequences_may_be_nested_as_deep_as_they_like(write: Write) -> None:
    path = write(VALUES)
    raw = path.read_bytes()
    start = raw.index(b"\x20\x00\x0e\x00")  # (0020,000E): something before it
    nest = b"\x18\x00\x12\x60SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000
    path.write_bytes(raw[:start] + nest + raw[start:])
    assert "cannot be read as DICOM" in refusal(path).reason


# files


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert not is_dicom(tmp_path)
    assert "is a folder" in refusal(tmp_path).reason


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.dcm")
    assert not is_dicom(tmp_path / "a.dcm")
    assert "no regular file" in refusal(tmp_path / "a.dcm").reason


@pytest.mark.parametrize(("content", "reason"), [(b"", "is empty"), (b"no image at all", "is no DICOM file")])
def test_other_content_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a").write_bytes(content)
    assert not is_dicom(tmp_path / "a")
    assert reason in refusal(tmp_path / "a").reason


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "a.dcm").reason


# packed data


def test_a_deflated_file_without_its_end_is_refused(write: Write) -> None:
    path = write(VALUES, syntax=DeflatedExplicitVRLittleEndian)
    path.write_bytes(path.read_bytes().rstrip(b"\0")[:-1])
    assert "is cut off: its deflated data set has no end" in refusal(path).reason


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_more_packed_frames_than_its_bytes_can_hold_are_refused(write: Write, syntax: Any) -> None:
    frame = np.zeros((1, 1), np.uint8)
    path = write(frame, PixelData=encapsulate([bytes(64)]), packed=syntax, NumberOfFrames=2**28)
    with pytest.raises(InputError, match="268435456 x 1 x 1 x 1 values take 2147483648"):
        read_header(path)


def test_a_deflate_bomb_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_INFLATED", 2**20)
    path = write(VALUES, syntax=DeflatedExplicitVRLittleEndian)
    raw = path.read_bytes()
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    start = 132 + 12 + int.from_bytes(raw[140:144], "little")
    path.write_bytes(raw[:start] + packer.compress(bytes(2**22)) + packer.flush())
    assert "is deflated and becomes more than 1 MiB" in refusal(path).reason


def jpeg(kind: str, shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "syntax"), [("JPEG", JPEGBaseline8Bit), ("JPEG2000", JPEG2000Lossless)])
def test_a_codestream_of_another_size_is_refused(write: Write, kind: str, syntax: Any) -> None:
    path = write(VALUES.astype(np.uint8), PixelData=encapsulate([jpeg(kind, (99, 77))]), packed=syntax)
    assert "declares 12 x 16 x 1 of 8 bits, but its frame 1 is 99 x 77 x 1 of 8 bits" in refusal(path).reason


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
def test_codestreams_tell_their_size(kind: str, shape: tuple[int, ...]) -> None:
    assert codestream_sizes(jpeg(kind, shape)) == [Size(9, 7, len(shape) * 2 - 3, 8)]


@needs_shared
def test_broken_jpeg_lossless_ends_no_process_and_the_next_file_is_read(tmp_path: Path) -> None:
    raw = LOSSLESS.read_bytes()
    start = raw.index(b"\xff\xda") + 200
    for place in range(start, start + 4000, 800):
        (tmp_path / "a.dcm").write_bytes(raw[:place] + b"\xff\xf2\xff\xda" * 8 + raw[place + 32 :])
        with suppress(InputError):
            read_dicom(tmp_path / "a.dcm")
    assert read_dicom(LOSSLESS).values.shape == (1, 512, 512)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless, JPEG2000Lossless])
def test_noise_in_place_of_packed_data_is_refused(write: Write, syntax: Any) -> None:
    refusal(write(VALUES, PixelData=encapsulate([np.random.default_rng(0).bytes(400)]), packed=syntax))


# noise


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([None, RLELossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1) | st.just(1.0),
)
def test_flipped_and_cut_files_are_images_or_refused(
    write: Write, syntax: Any, flips: list[tuple[float, int]], kept: float
) -> None:
    path = write(VALUES, syntax=syntax, SOPInstanceUID="1.2.3", WindowCenter=9, WindowWidth=9, RescaleSlope=2)
    raw = bytearray(path.read_bytes())
    for place, value in flips:  # shares of the file: UIDs, and so lengths, differ from run to run
        raw[128 + round(place * (len(raw) - 129))] = value
    path.write_bytes(raw[: round(kept * len(raw))])
    is_dicom(path)
    try:
        image = read_dicom(path)
    except InputError:
        return
    assert image.picture(0).dtype == np.uint8


def test_warnings_of_pydicom_are_hushed_and_the_filters_restored(write: Write) -> None:
    paths = [write(VALUES, name=f"{n}.dcm", PixelData=VALUES.tobytes() + b"\0" * 6) for n in range(8)]
    before = list(warnings.filters)
    failed: list[BaseException] = []

    def read(path: Path) -> None:
        try:
            for _ in range(5):
                read_dicom(path)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=read, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert list(warnings.filters) == before
