from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from shared_data import SHARED

from delineate.pipelines.core.errors import InputError, SkippedError
from delineate.pipelines.imaging.dicom import is_dicom, read_dicom
from delineate.pipelines.imaging.volumes.windows import Percentiles, Window, show

RNG = np.random.default_rng(0)
STORED = RNG.integers(-2000, 2000, (5, 7), dtype=np.int16)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
SMOOTH = np.arange(12 * 20, dtype=np.int16).reshape(12, 20)
DICOM = SHARED / "dicom"
IMAGES = ["ct", "mr", "photo", "rtstruct_ct", "secondary_capture", "series_ct_head_ge", "ultrasound", "xray"]
OTHERWISE = {
    "GH364.dcm": "GDCM refuses it",
    "SC_rgb_rle_16bit_2frame.dcm": "GDCM mixes up the planes of 16-bit colours in RLE",
    "rt.dcm": "is not an image",
}
needs_shared = pytest.mark.skipif(not DICOM.is_dir(), reason="needs shared/data")

Build = Callable[..., Dataset]
Write = Callable[..., Path]
Save = Callable[[Dataset, Path], Path]


def files(folder: str) -> list[Path]:
    return sorted((DICOM / folder).glob("*.dcm"))


def sequence(**attributes: Any) -> list[Dataset]:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return [item]


# real files


@needs_shared
@pytest.mark.parametrize("folder", IMAGES)
def test_values_are_those_of_gdcm(folder: str) -> None:
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    for path in files(folder):
        if path.name in OTHERWISE:
            continue
        ours, theirs = read_dicom(path), SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).astype(np.float64)
        if ours.inverted:
            theirs = theirs.min() + theirs.max() - theirs  # GDCM inverts MONOCHROME1 here; we say that it is inverted
            assert np.ptp(ours.values.astype(np.float64) - theirs) == 0, path.name
        else:
            np.testing.assert_allclose(ours.values, theirs, atol=1e-3, err_msg=path.name)


@needs_shared
def test_other_files_are_named_with_their_reason() -> None:
    reasons = {}
    for path in files("not_images_or_broken"):
        assert is_dicom(path)
        with pytest.raises(InputError) as refusal:
            read_dicom(path)
        reasons[path.stem] = (type(refusal.value), refusal.value.reason)
    assert reasons["rtplan"] == (SkippedError, "is not an image (RT Plan)")
    assert reasons["rtdose_1frame"] == (SkippedError, "is not an image (RT Dose)")
    assert reasons["badVR"] == (SkippedError, "is not an image (RT Dose)")
    assert reasons["test-SR"] == (SkippedError, "is not an image (Comprehensive SR)")
    assert reasons["MR_truncated"][1] == "has 8130 bytes of pixel data where 1 x 64 x 64 x 1 values take 8192"
    assert reasons["no_meta"] == (InputError, "is no DICOM file (no DICM prefix, no data set)")


@needs_shared
def test_what_gdcm_cannot_tell_is_right_none_the_less() -> None:
    deep = read_dicom(DICOM / "secondary_capture/SC_rgb_rle_16bit_2frame.dcm").values
    np.testing.assert_array_equal(deep[:, 5, 50], [[255, 0, 0], [0, 255, 255]])
    assert read_dicom(DICOM / "ultrasound/GH364.dcm").values.shape == (1, 768, 1024)


@needs_shared
def test_a_film_has_its_axes_in_numpy_order() -> None:
    assert read_dicom(DICOM / "ultrasound/examples_ybr_color.dcm").values.shape == (30, 240, 320, 3)


# transfer syntaxes


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless]
)
@pytest.mark.parametrize("values", [SMOOTH.astype(np.uint8), SMOOTH - 99], ids=["8 bits", "16 bits, signed"])
def test_a_packed_image_comes_back_unchanged(write: Write, syntax: Any, values: np.ndarray) -> None:
    image = read_dicom(write(values, syntax=syntax))
    np.testing.assert_array_equal(image.values[0], values)
    assert image.values.dtype == values.dtype


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("error", [0, 3])
@pytest.mark.parametrize("signed", [False, True])
def test_jpeg_ls_is_what_charls_decodes_it_to(write: Write, bits: int, error: int, signed: bool) -> None:
    charls = pytest.importorskip("jpeg_ls")
    values = (np.add.outer(np.arange(12) * 99, np.arange(20) * 7) % (1 << bits)).astype(
        np.uint8 if bits == 8 else "<u2"
    )
    layout = {"rows": 12, "columns": 20, "samples_per_pixel": 1, "bits_stored": bits, "interleave_mode": 0}
    stream = bytes(charls.encode_buffer(values.tobytes(), lossy_error=error, **layout))
    theirs = np.frombuffer(charls.decode_buffer(stream)[0], values.dtype).reshape(values.shape).astype(np.int32)
    syntax = JPEGLSNearLossless if error else JPEGLSLossless
    depth = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": int(signed)}
    ours = read_dicom(write(values, PixelData=encapsulate([stream]), packed=syntax, **depth)).values[0]
    wrapped = theirs - (1 << bits) * (theirs >= 1 << (bits - 1)) if signed else theirs
    np.testing.assert_array_equal(ours, wrapped)


def test_jpeg_ls_of_8_bits_in_16_is_read(write: Write) -> None:
    stream = bytes(
        pytest.importorskip("jpeg_ls").encode_buffer(
            SMOOTH.astype(np.uint8).tobytes(), rows=12, columns=20, samples_per_pixel=1, bits_stored=8
        )
    )
    path = write(SMOOTH.astype(np.uint16), PixelData=encapsulate([stream]), packed=JPEGLSLossless)
    np.testing.assert_array_equal(read_dicom(path).values[0], SMOOTH)


@needs_shared
def test_real_jpeg_ls_needs_no_other_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jpeg_ls", None)
    name = "CTImage.dcm_{}.dcm"
    packed = read_dicom(DICOM / "ct" / name.format("JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80")).values
    plain = read_dicom(DICOM / "ct" / name.format("RLELosslessTransferSyntax_1.2.840.10008.1.2.5")).values
    np.testing.assert_array_equal(packed, plain)


@pytest.mark.parametrize("values", [GREY, STORED.astype(np.uint16)], ids=["8 bits", "16 bits"])
def test_jpeg_2000_comes_back_unchanged(write: Write, values: np.ndarray) -> None:
    file = BytesIO()
    Image.fromarray(values).save(file, format="JPEG2000", no_jp2=True)
    path = write(values, PixelData=encapsulate([file.getvalue()]), packed=JPEG2000Lossless)
    np.testing.assert_array_equal(read_dicom(path).values[0], values)


def test_big_endian_is_read_to_native_order(write: Write, build: Build, save: Save, tmp_path: Path) -> None:
    dataset = build(STORED, PixelData=STORED.astype(">i2").tobytes())
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    image = read_dicom(save(dataset, tmp_path / "a"))
    np.testing.assert_array_equal(image.values[0], STORED)
    assert image.values.dtype == np.int16


@pytest.mark.parametrize("implicit", [True, False])
def test_a_data_set_without_preamble_and_suffix_is_read(build: Build, tmp_path: Path, implicit: bool) -> None:
    dataset = build(STORED)
    del dataset.file_meta
    dataset.save_as(tmp_path / "IM0001", implicit_vr=implicit, little_endian=True)
    assert is_dicom(tmp_path / "IM0001")
    np.testing.assert_array_equal(read_dicom(tmp_path / "IM0001").values[0], STORED)


# values


@pytest.mark.parametrize(("slope", "intercept", "kind"), [("1", "-1024", np.int16), ("0.5", "0", np.float32)])
def test_values_are_rescaled(write: Write, slope: str, intercept: str, kind: type) -> None:
    values = read_dicom(write(STORED, RescaleSlope=slope, RescaleIntercept=intercept)).values
    np.testing.assert_array_equal(values[0], STORED * float(slope) + float(intercept))
    assert values.dtype == kind


def test_a_modality_table_is_looked_up(write: Write) -> None:
    table = sequence(LUTDescriptor=[4, 10, 16], LUTData=[7, 70, 700, 7000])
    table[0]["LUTDescriptor"].VR = table[0]["LUTData"].VR = "US"
    stored = np.array([[0, 10, 11], [12, 13, 200]], np.uint16)
    np.testing.assert_array_equal(
        read_dicom(write(stored, ModalityLUTSequence=table)).values[0], [[7, 7, 70], [700, 7000, 7000]]
    )


def test_unused_bits_are_masked_off(write: Write) -> None:
    twelve = RNG.integers(0, 4096, (4, 6), dtype=np.uint16)
    overlaid = twelve | (RNG.integers(0, 16, twelve.shape, dtype=np.uint16) << 12)
    np.testing.assert_array_equal(read_dicom(write(overlaid, BitsStored=12, HighBit=11)).values[0], twelve)


def test_signed_values_of_12_bits_keep_their_sign(write: Write) -> None:
    signed = RNG.integers(-2048, 2048, (4, 6), dtype=np.int16)
    stored = signed & 0x0FFF
    np.testing.assert_array_equal(read_dicom(write(stored, BitsStored=12, HighBit=11)).values[0], signed)


def test_one_bit_becomes_black_and_white(write: Write) -> None:
    bits = RNG.integers(0, 2, (8, 8), dtype=np.uint8)
    packed = np.packbits(bits, bitorder="little").tobytes()
    image = read_dicom(write(bits, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed))
    np.testing.assert_array_equal(image.picture(0), 255 * bits)


# colours


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_is_kept_whatever_its_order(write: Write, planar: int) -> None:
    data = (RGB.transpose(2, 0, 1) if planar else RGB).tobytes() + b"\0"
    image = read_dicom(write(RGB, colour=True, PlanarConfiguration=planar, PixelData=data))
    np.testing.assert_array_equal(image.picture(0), RGB)


def test_of_16_bit_colours_the_upper_8_are_taken(write: Write) -> None:
    deep = RNG.integers(0, 65536, (3, 4, 3), dtype=np.uint16)
    np.testing.assert_array_equal(read_dicom(write(deep, colour=True)).values[0], deep >> 8)


def test_ybr_becomes_rgb(write: Write) -> None:
    grey = np.dstack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)])
    image = read_dicom(write(grey, colour=True, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_array_equal(image.values[0], np.repeat(GREY[..., None], 3, axis=-1))


def test_a_palette_becomes_rgb(write: Write) -> None:
    tables = {
        f"{name}PaletteColorLookupTable{part}": value
        for name, colour in zip(("Red", "Green", "Blue"), RNG.integers(0, 256, (3, 256), dtype=np.uint16), strict=True)
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", (colour << 8).tobytes()))
    }
    image = read_dicom(write(GREY, PhotometricInterpretation="PALETTE COLOR", **tables))
    red = np.frombuffer(tables["RedPaletteColorLookupTableData"], np.uint16) >> 8  # type: ignore[call-overload]
    np.testing.assert_array_equal(image.values[0, ..., 0], red[GREY])


# pictures


def test_a_picture_takes_the_first_window_of_the_file(write: Write) -> None:
    image = read_dicom(write(STORED, WindowCenter=[100, 0], WindowWidth=[401, 9]))
    np.testing.assert_array_equal(image.picture(0), show(STORED, Window(-100.5, 299.5)))


def test_the_ends_of_an_exact_window_are_where_it_says(write: Write) -> None:
    image = read_dicom(write(STORED, WindowCenter=100, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))
    np.testing.assert_array_equal(image.picture(0), show(STORED, Window(-100, 300)))


def test_a_sigmoid_is_half_at_its_centre(write: Write) -> None:
    values = np.array([[-4000, 50, 4000]], np.int16)
    image = read_dicom(write(values, WindowCenter=50, WindowWidth=200, VOILUTFunction="SIGMOID"))
    np.testing.assert_array_equal(image.picture(0), [[0, 128, 255]])


def test_a_table_comes_before_a_window(write: Write) -> None:
    table = sequence(LUTDescriptor=[3, 5, 8], LUTData=[255, 0, 51])
    table[0]["LUTDescriptor"].VR = table[0]["LUTData"].VR = "US"
    values = np.array([[0, 5, 6, 7, 9]], np.uint16)
    image = read_dicom(write(values, VOILUTSequence=table, WindowCenter=1, WindowWidth=2))
    np.testing.assert_array_equal(image.picture(0), [[255, 255, 0, 51, 51]])


def test_another_window_may_be_asked_for(write: Write) -> None:
    image = read_dicom(write(STORED, WindowCenter=100, WindowWidth=400))
    np.testing.assert_array_equal(image.picture(0, Window(-5, 5)), show(STORED, Window(-5, 5)))


def test_eight_bits_without_window_stay_as_they_are(write: Write) -> None:
    np.testing.assert_array_equal(read_dicom(write(GREY)).picture(0), GREY)


def test_monochrome1_is_inverted(write: Write) -> None:
    image = read_dicom(write(GREY, PhotometricInterpretation="MONOCHROME1"))
    assert image.inverted
    np.testing.assert_array_equal(image.picture(0), 255 - GREY)


def test_percentiles_are_those_of_all_frames_without_padding(write: Write) -> None:
    frames = np.stack([STORED, STORED + 5000])
    frames[:, 0] = -9000
    image = read_dicom(write(frames, PixelPaddingValue=-9000, RescaleSlope="2", RescaleIntercept="1"))
    low, high = np.percentile(2.0 * frames[:, 1:] + 1, [1, 99])
    np.testing.assert_array_equal(
        image.picture(1, Percentiles(1, 99)), show(image.values[1], Window(float(low), float(high)))
    )


# distances


@pytest.mark.parametrize(
    ("attributes", "spacing", "kind"),
    [
        ({"PixelSpacing": [0.5, 0.25]}, (0.5, 0.25), "patient"),
        ({"ImagerPixelSpacing": [0.5, 0.25]}, (0.5, 0.25), "detector"),
        ({"PixelSpacing": [0.5, 0.5], "ImagerPixelSpacing": [0.5, 0.5]}, (0.5, 0.5), "detector"),
        ({"PixelSpacing": [0.4, 0.4], "ImagerPixelSpacing": [0.5, 0.5]}, (0.4, 0.4), "patient"),
        ({"PixelSpacing": [0.5, 0.5], "Modality": "DX"}, (0.5, 0.5), "detector"),
        (
            {"PixelSpacing": [0.5, 0.5], "Modality": "DX", "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.5, 0.5),
            "patient",
        ),
        ({"PixelSpacing": [0, 0.5]}, None, None),
        ({}, None, None),
    ],
)
def test_distances_say_where_they_hold(write: Write, attributes: dict[str, Any], spacing: Any, kind: Any) -> None:
    image = read_dicom(write(GREY, **attributes))
    assert (image.spacing, image.spacing_kind) == (spacing, kind)


@pytest.mark.parametrize(("second", "spacing"), [(0.02, (0.3, 0.2)), (0.05, None)])
def test_regions_give_a_distance_where_they_agree(write: Write, second: float, spacing: Any) -> None:
    units = {"PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3, "PhysicalDeltaY": 0.03}
    regions = sequence(**units, PhysicalDeltaX=0.02) + sequence(**units, PhysicalDeltaX=second)
    found = read_dicom(write(GREY, SequenceOfUltrasoundRegions=regions)).spacing
    assert found == (pytest.approx(spacing) if spacing else None)


@pytest.mark.parametrize(("right", "lower", "known"), [(6, 4, True), (7, 5, True), (8, 4, False), (6, 6, False)])
def test_a_region_that_leaves_the_image_gives_no_distance(write: Write, right: int, lower: int, known: bool) -> None:
    """As of frames that were made smaller after the device had described them: pydicom's examples_ybr_color.dcm."""
    ends = {"RegionLocationMaxX1": right, "RegionLocationMaxY1": lower}
    units = {"PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3, "PhysicalDeltaY": 0.03, "PhysicalDeltaX": 0.02}
    image = read_dicom(write(GREY, SequenceOfUltrasoundRegions=sequence(**ends, **units)))
    assert (image.spacing is not None) is known
    assert (image.spacing_kind == "region") is known


def test_a_changed_file_is_read_again(write: Write) -> None:
    first = read_dicom(write(GREY)).values
    assert not np.array_equal(read_dicom(write(np.vstack([GREY, GREY]))).values.shape, first.shape)
