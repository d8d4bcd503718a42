"""Damaged and hostile volumes: the voxels that were saved, or a refusal by name."""

from __future__ import annotations

import gzip
import os
import random
import struct
import sys
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.volumes import grids
from delineate.pipelines.imaging.volumes.formats import read_grid, read_volume

VOXELS = (np.indices((12, 10, 8)).sum(0) * 9 + np.random.default_rng(1).integers(0, 5, (12, 10, 8))).astype(np.int16)
META = "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nspace: LPS\nsizes: 2 2 2\nencoding: raw\n"
NRRD += "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"


def saved(folder: Path, suffix: str, compressed: bool = True) -> Path:
    """A sound volume."""
    path = folder / f"a{suffix}"
    if "nii" in suffix:
        nib.save(nib.Nifti1Image(VOXELS, np.diag([1, 1.5, 3, 1])), path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS.T), str(path), useCompression=compressed)
    return path


def data_file(path: Path) -> Path:
    """Where the voxels are."""
    return next((file for file in path.parent.iterdir() if file != path), path)


def refusal(path: Path, *, by_header: bool = True) -> str:
    """Why it is refused: by reading it, and by its header alone."""
    for read in (read_grid, read_volume) if by_header else (read_volume,):
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.source == str(path)
    return f"{caught.value.reason}; {caught.value.remedy}"


def nifti(path: Path, shape: tuple[int, ...], second: bool = False, voxels: bytes = b"") -> Path:
    """A header that claims a shape, of uint8, and what follows."""
    header = (nib.Nifti2Header if second else nib.Nifti1Header)()
    header.set_data_dtype(np.uint8)
    header["dim"][: len(shape) + 1] = len(shape), *shape
    header["magic"] = b"n+2" if second else b"n+1"
    header["vox_offset"] = 544 if second else 352
    header.set_sform(np.eye(4), code=1)
    data = header.binaryblock + bytes(4) + voxels
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# damage


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".nhdr", ".mhd"])
def test_a_flipped_bit_in_packed_voxels_changes_none_or_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path, suffix)
    file, draws = data_file(path), random.Random(5)
    raw, sound, refused = file.read_bytes(), read_volume(path).voxels, 0
    for _ in range(60):
        bit = draws.randrange(8 * len(raw))
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            voxels = read_volume(path).voxels
        except InputError:
            refused += 1
            continue
        np.testing.assert_array_equal(voxels, sound)
    assert refused > 30


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".nhdr", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_follows_the_voxels_is_refused(tmp_path: Path, suffix: str, compressed: bool) -> None:
    path = saved(tmp_path, suffix, compressed)
    file = data_file(path)
    sound = file.read_bytes()
    file.write_bytes(sound + b"garbage")
    refusal(path, by_header=False)
    if suffix in (".nii.gz", ".nrrd", ".nhdr") and sound[:2] == b"\x1f\x8b":
        file.write_bytes(sound + gzip.compress(b"another member"))
        assert "holds more than" in refusal(path, by_header=False)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".nhdr", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_cut_voxels_are_refused(tmp_path: Path, suffix: str, compressed: bool) -> None:
    path = saved(tmp_path, suffix, compressed)
    file = data_file(path)
    sound = file.read_bytes()
    for cut in (1, 9, len(sound) // 5):
        file.write_bytes(sound[:-cut])
        assert "copy or download it again" in refusal(path, by_header=False)


def test_voxels_in_several_members_of_gzip_are_read(tmp_path: Path) -> None:
    data = gzip.decompress(saved(tmp_path, ".nii.gz").read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]) + gzip.compress(b""))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").voxels, VOXELS)


# headers that claim what is not there


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_small_nifti_that_claims_many_slices_is_refused_by_its_header(tmp_path: Path, name: str) -> None:
    assert "along an axis" in refusal(nifti(tmp_path / name, (1, 1, 2**28), second=True))


def test_a_small_metaimage_or_nrrd_that_claims_many_slices_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_text(META.replace("2 2 2", f"1 1 {2**28}") + "ElementDataFile = LOCAL\n")
    (tmp_path / "a.nrrd").write_text(NRRD.replace("2 2 2", f"1 1 {2**28}") + "\n")
    for name in ("a.mha", "a.nrrd"):
        assert "along an axis" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_that_no_file_of_this_size_can_hold_are_refused_before_anything_is_allocated(
    tmp_path: Path, name: str
) -> None:
    path = nifti(tmp_path / name, (512, 512, 2000))
    tracemalloc.start()
    assert "its header declares 524288352 bytes" in refusal(path) if name == "a.nii.gz" else refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_plane_of_more_pixels_than_a_picture_may_have_is_refused(tmp_path: Path) -> None:
    assert "in a plane" in refusal(nifti(tmp_path / "a.nii.gz", (9900, 9900, 1)))
    assert "along an axis" in refusal(nifti(tmp_path / "a.nii.gz", (23170, 23170, 1)))


def test_more_slices_than_any_scan_has_are_refused_and_the_remedy_is_not_to_copy(tmp_path: Path) -> None:
    reason = refusal(nifti(tmp_path / "a.nii.gz", (1, 1, 32767), voxels=bytes(32767)))
    assert "10,000 along an axis are the most; cut it or resample it" in reason
    assert read_grid(nifti(tmp_path / "b.nii.gz", (1, 1, 10000), voxels=bytes(10000))).shape == (1, 1, 10000)


def test_bytes_are_limited_as_well_as_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "MAX_BYTES", 2 * VOXELS.size - 1)
    assert "GiB are the most" in refusal(saved(tmp_path, ".mha"))
    monkeypatch.setattr(grids, "MAX_BYTES", 2 * VOXELS.size)
    assert read_volume(tmp_path / "a.mha").voxels.shape == VOXELS.shape


# headers that crash SimpleITK


@pytest.mark.parametrize(
    "axes", ["-1", "-3", "0", "1", "100", "2147483647", "99999999999999999999", "three", "3 3", ""]
)
def test_a_metaimage_of_impossible_axes_is_refused_and_the_next_is_read(tmp_path: Path, axes: str) -> None:
    (tmp_path / "a.mha").write_text(f"{META.replace('3', axes, 1)}ElementDataFile = LOCAL\n")
    refusal(tmp_path / "a.mha")
    (tmp_path / "b.mha").write_bytes(f"{META}ElementDataFile = LOCAL\n".encode() + bytes(8))
    assert read_volume(tmp_path / "b.mha").voxels.shape == (2, 2, 2)


@pytest.mark.parametrize("length", [1023, 1024, 5000, 2**20])
@pytest.mark.parametrize("field", ["space", "type", "encoding", "endian", "kinds", "space origin", "space directions"])
def test_long_values_in_a_nrrd_are_refused_and_the_next_is_read(tmp_path: Path, field: str, length: int) -> None:
    lines = [line for line in NRRD.splitlines() if not line.startswith(f"{field}:")]
    (tmp_path / "a.nrrd").write_text("\n".join([*lines, f"{field}: {'x' * length}", "", ""]))
    refusal(tmp_path / "a.nrrd")
    (tmp_path / "b.nrrd").write_bytes(f"{NRRD}\n".encode() + bytes(8))
    assert read_volume(tmp_path / "b.nrrd").voxels.shape == (2, 2, 2)


def test_long_comments_keys_and_values_of_a_nrrd_are_passed_over(tmp_path: Path) -> None:
    more = "".join(f"Segment{n}_Terminology:={'x' * 3000}\n" for n in range(99)) + f"# {'y' * 3000}\ncontent: Lésion\n"
    (tmp_path / "a.nrrd").write_bytes(f"{NRRD}{more}\n".encode() + bytes(range(8)))
    assert read_volume(tmp_path / "a.nrrd").voxels.max() == 7


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text(NRRD + "key:=value\n" * 200_000 + "\n")
    (tmp_path / "a.mha").write_text(META + "key = value\n" * 200_000 + "ElementDataFile = LOCAL\n")
    assert "header of more than" in refusal(tmp_path / "a.nrrd")
    assert "no ElementDataFile" in refusal(tmp_path / "a.mha")


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("line skip: 3", "skips lines"),
        ("byte skip: -2", "skips -2 bytes"),
        ("byte skip: 99999999999", "cut off or damaged"),
        ("sizes: 2 2 2", "gives its sizes more than once"),
        ("kinds: domain domain", "for 3 axes"),
        ("kinds: list domain vector", "several axes of channels"),
        ('space units: "um" "um" "um"', "lengths in 'um'; save it in mm"),
    ],
)
def test_nrrd_fields_that_lead_astray_are_refused(tmp_path: Path, field: str, reason: str) -> None:
    (tmp_path / "a.nrrd").write_bytes(f"{NRRD}{field}\n\n".encode() + bytes(8))
    assert reason in refusal(tmp_path / "a.nrrd")


@pytest.mark.parametrize("encoding", ["ascii", "txt", "hex", "bzip2", "bz2", "zrl", ""])
def test_nrrd_in_other_encodings_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.nrrd").write_bytes(NRRD.replace("raw", encoding).encode() + b"\n" + b"1 2 3 4 5 6 7 8")
    assert "save it as raw or gzip" in refusal(tmp_path / "a.nrrd")


def test_bytes_before_the_voxels_are_skipped_as_a_nrrd_says(tmp_path: Path) -> None:
    for skip, before in ((3, 3), (-1, 5)):
        (tmp_path / "a.raw").write_bytes(b"x" * before + bytes(range(8)))
        (tmp_path / "a.nhdr").write_text(f"{NRRD}byte skip: {skip}\ndata file: a.raw\n")
        assert read_volume(tmp_path / "a.nhdr").voxels.ravel(order="F").tolist() == list(range(8))


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("CompressedData = True", "declares -1 packed bytes"),
        ("ElementSpacing = nan 1 1", "affine"),
        ("ElementSpacing = 0 1 1", "affine"),
        ("BinaryData = False", "as text"),
        ("DistanceUnits = cm", "lengths in 'cm'"),
        ("NDims = 3", "gives NDims twice"),
        ("ElementNumberOfChannels = 0", "has 2x2x2 voxels"),
        ("TransformMatrix = " + "1 " * 600, "says that TransformMatrix is"),
        ("Offset = \x1b[31m", "says that Offset is '?[31m'"),
    ],
)
def test_fields_of_a_metaimage_that_lead_astray_are_refused(tmp_path: Path, field: str, reason: str) -> None:
    (tmp_path / "a.mha").write_bytes(f"{META}{field}\nElementDataFile = LOCAL\n".encode() + bytes(8))
    assert reason in refusal(tmp_path / "a.mha")


# NIfTI


def changed(path: Path, offset: int, form: str, *values: float) -> Path:
    new, data = struct.pack(form, *values), path.read_bytes()
    path.write_bytes(data[:offset] + new + data[offset + len(new) :])
    return path


@pytest.mark.parametrize(("slope", "inter"), [(np.inf, 0), (1, np.nan), (1, np.inf), (np.nan, 3)])
def test_scaling_that_is_no_number_is_refused(tmp_path: Path, slope: float, inter: float) -> None:
    assert "scales its values by" in refusal(changed(saved(tmp_path, ".nii"), 112, "<ff", slope, inter))


@pytest.mark.parametrize(("slope", "inter"), [(0, 7), (np.nan, np.nan), (np.nan, 0)])
def test_no_slope_means_no_scaling(tmp_path: Path, slope: float, inter: float) -> None:
    path = changed(saved(tmp_path, ".nii"), 112, "<ff", slope, inter)
    np.testing.assert_array_equal(read_volume(path).voxels, VOXELS)


def test_a_type_that_contradicts_its_bits_is_refused(tmp_path: Path) -> None:
    assert "have 16 bits" in refusal(changed(saved(tmp_path, ".nii"), 70, "<h", 8))


@pytest.mark.parametrize(("unit", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (7, 1)])
def test_lengths_are_in_mm_whatever_the_unit(tmp_path: Path, unit: int, factor: float) -> None:
    affine = read_volume(changed(saved(tmp_path, ".nii"), 123, "<b", unit)).affine
    np.testing.assert_allclose(np.diag(affine), [factor, 1.5 * factor, 3 * factor, 1])


def test_a_name_that_says_otherwise_than_the_content_is_refused_with_the_right_name(tmp_path: Path) -> None:
    saved(tmp_path, ".nii.gz").rename(tmp_path / "b.nii")
    saved(tmp_path, ".nii").rename(tmp_path / "c.nii.gz")
    assert "let its name end in .nii.gz" in refusal(tmp_path / "b.nii")
    assert refusal(tmp_path / "c.nii.gz").endswith("let its name end in .nii")


def test_voxels_that_are_no_numbers_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[2, 3] = np.nan
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").voxels, voxels)
    assert "8 of its 960 values are no finite numbers" in caplog.text
    nib.save(nib.Nifti1Image(np.full_like(voxels, np.nan), np.eye(4)), tmp_path / "b.nii.gz")
    assert "has no finite value" in refusal(tmp_path / "b.nii.gz", by_header=False)


# what is no regular file


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs")
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"a{suffix}")
    assert "is no regular file" in refusal(tmp_path / f"a{suffix}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs")
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_data_file_that_is_a_fifo_is_refused(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / "a.raw")
    path = tmp_path / f"a{suffix}"
    path.write_text(f"{META}ElementDataFile = a.raw\n" if suffix == ".mhd" else f"{NRRD}data file: a.raw\n")
    assert "no regular file" in refusal(path)
