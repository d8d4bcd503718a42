from __future__ import annotations

import gzip
import logging
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.volumes import grids
from delineate.pipelines.imaging.volumes.formats import (
    VOLUME_SUFFIXES,
    read_grid,
    read_header_shape,
    read_volume,
    volume_suffix,
)
from delineate.pipelines.imaging.volumes.windows import Window

VOXELS = np.random.default_rng(0).integers(0, 99, (3, 4, 5), dtype=np.int16)
AFFINE = np.array([[2.0, 0, 0, -7], [0, 3, 0, 8], [0, 0, 4, 9], [0, 0, 0, 1]])
COLOURS = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def save_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = AFFINE, **fields: object) -> Path:
    image = nib.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def save_itk(path: Path, voxels: np.ndarray, vector: bool = False, compressed: bool = True) -> Path:
    """(I, J, K), (I, J, K, C) with ``vector``, or any number of axes without."""
    axes = range(voxels.ndim - vector)
    image = sitk.GetImageFromArray(voxels.transpose(*reversed(axes), *range(len(axes), voxels.ndim)), isVector=vector)
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def changed(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def header_changed(path: Path, offset: int, form: str, *values: float) -> Path:
    """A NIfTI whose header has other bytes at ``offset``."""
    plain = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    new = struct.pack(form, *values)
    plain = plain[:offset] + new + plain[offset + len(new) :]
    path.write_bytes(gzip.compress(plain) if path.suffix == ".gz" else plain)
    return path


def refused(path: Path, reason: str, *, by_header: bool = True) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_volume(path)
    assert caught.value.source == str(path)
    if by_header:
        with pytest.raises(InputError, match=reason):
            read_grid(path)


# names


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_volumes_are_known_by_their_suffix(suffix: str) -> None:
    assert volume_suffix(f"folder.png/A.b{suffix.upper()}") == suffix


@pytest.mark.parametrize("name", ["a.png", "a.gz", "nii", "a.nii.png", "a.img", "a.hdr"])
def test_other_files_are_no_volumes(tmp_path: Path, name: str) -> None:
    assert volume_suffix(name) is None
    refused(tmp_path / name, "is no volume by its name")


# what comes out


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII", ".NII.GZ", ".mha", ".mhd", ".nrrd", ".nhdr"])
def test_voxels_and_shape_of_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    (save_nifti if "nii" in suffix.lower() else save_itk)(path, VOXELS)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert volume.voxels.dtype == VOXELS.dtype
    assert read_header_shape(path) == VOXELS.shape


def test_the_suffix_of_metaimages_and_nrrd_may_be_in_capitals(tmp_path: Path) -> None:
    for suffix in (".mha", ".nrrd"):
        path = save_itk(tmp_path / f"a{suffix}", VOXELS).rename(tmp_path / f"A{suffix.upper()}")
        np.testing.assert_array_equal(read_volume(path).voxels, VOXELS)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("suffix", [".nii", ".nrrd"])
def test_integers_stay_as_they_are(tmp_path: Path, kind: str, suffix: str) -> None:
    voxels = np.array([[[np.iinfo(kind).min, np.iinfo(kind).max]]], kind)
    path = (save_nifti if suffix == ".nii" else save_itk)(tmp_path / f"a{suffix}", voxels)
    assert read_volume(path).voxels.dtype == kind
    np.testing.assert_array_equal(read_volume(path).voxels, voxels)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_other_numbers_become_float32_and_nan_is_kept(tmp_path: Path, suffix: str) -> None:
    voxels = np.array([[[np.nan, 1.5, -np.inf, 1e300]]])
    volume = read_volume((save_nifti if "nii" in suffix else save_itk)(tmp_path / f"a{suffix}", voxels))
    assert volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels, [[[np.nan, 1.5, -np.inf, np.inf]]])


def test_nifti_is_scaled_as_its_header_says(tmp_path: Path) -> None:
    path = header_changed(save_nifti(tmp_path / "a.nii", VOXELS), 112, "<ff", 0.5, -1024)
    assert read_volume(path).voxels.dtype == np.float32
    np.testing.assert_array_equal(read_volume(path).voxels, VOXELS * 0.5 - 1024)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_big_endian_nifti_is_read(tmp_path: Path, kind: type[nib.Nifti1Image]) -> None:
    header = kind.header_class(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(kind(VOXELS, AFFINE, header), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.voxels.dtype == np.dtype(np.int16)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_array_equal(volume.affine, AFFINE)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1), (3, 4, 1, 1)])
@pytest.mark.parametrize("suffix", [".nii", ".mha"])
def test_a_flat_file_has_one_slice(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    voxels = np.arange(12, dtype=np.uint8).reshape(shape)
    path = (save_nifti if suffix == ".nii" else save_itk)(tmp_path / f"a{suffix}", voxels)
    np.testing.assert_array_equal(read_volume(path).voxels, voxels.reshape(3, 4, 1))
    assert read_header_shape(path) == (3, 4, 1)


@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (3, 4, 5, 1, 2), (3, 4, 5, 2, 1)])
def test_a_fourth_axis_becomes_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    voxels = np.arange(120, dtype=np.int16).reshape(shape)
    path = save_nifti(tmp_path / "a.nii", voxels)
    np.testing.assert_array_equal(read_volume(path).voxels, voxels.reshape(3, 4, 5, 2))
    assert read_header_shape(path) == (3, 4, 5, 2)


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_components_and_a_fourth_axis_become_channels(tmp_path: Path, vector: bool, suffix: str) -> None:
    voxels = np.arange(120, dtype=np.int16).reshape(3, 4, 5, 2)
    path = save_itk(tmp_path / f"a{suffix}", voxels, vector)
    np.testing.assert_array_equal(read_volume(path).voxels, voxels)
    assert read_header_shape(path) == voxels.shape


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4)])
def test_nifti_in_colour_has_three_channels_and_asks_for_all_greys(tmp_path: Path, shape: tuple[int, ...]) -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    volume = read_volume(save_nifti(tmp_path / "a.nii", voxels.view(COLOURS)[..., 0]))
    np.testing.assert_array_equal(volume.voxels, voxels.reshape(2, 3, -1, 3))
    assert volume.window == Window(0, 255)


# where it lies


def test_lps_becomes_ras(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(VOXELS.T)
    image.SetSpacing((2, 3, 4))
    image.SetOrigin((7, -8, 9))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mha").affine, np.diag([-1, -1, 1, 1]) @ image_affine(image))


def test_metadata_of_a_metaimage_is_passed_over(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(VOXELS.T)
    for key in ("dim[0]", "0008|0005", "a key with words"):
        image.SetMetaData(key, "3")
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mha").voxels, VOXELS)


def image_affine(image: sitk.Image) -> np.ndarray:
    affine = np.diag([*image.GetSpacing(), 1.0])
    affine[:3, 3] = image.GetOrigin()
    return affine


def test_the_sform_counts_and_a_qform_elsewhere_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_nifti(tmp_path / "a.nii", VOXELS, qform_code=1, qoffset_x=33)
    assert read_volume(path).affine[0, 3] == AFFINE[0, 3]
    assert "sform and qform are up to 40 mm apart; the sform is taken" in caplog.text


def test_without_sform_the_qform_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = header_changed(save_nifti(tmp_path / "a.nii", VOXELS), 252, "<hh", 1, 0)  # their codes
    header_changed(path, 268, "<f", 33)  # qoffset_x
    assert read_volume(path).affine[0, 3] == 33
    assert not caplog.text


def test_a_file_without_orientation_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_volume(save_nifti(tmp_path / "a.nii", VOXELS, None))
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 2 2\nencoding: raw\n\n" + bytes(4))
    read_volume(tmp_path / "a.nrrd")
    assert "a.nii: has no orientation" in caplog.text
    assert "a.nrrd: has no orientation" in caplog.text


# what is refused


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"garbage", bytes(400), b"\xff" * 999], ids=["none", "text", "zeros", "ones"])
def test_files_that_are_no_volumes_are_refused(
    tmp_path: Path, suffix: str, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused(path, "is no|cannot be read" if content else "is empty")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_missing_files_and_folders_are_refused(tmp_path: Path, suffix: str) -> None:
    refused(tmp_path / f"a{suffix}", "does not exist")
    (tmp_path / f"b{suffix}").mkdir()
    refused(tmp_path / f"b{suffix}", "is a folder")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_cut_files_are_refused(
    tmp_path: Path, suffix: str, compressed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    if "nii" in suffix:
        save_nifti(path, VOXELS)
    else:
        save_itk(path, VOXELS, compressed=compressed)
    refused(changed(path, lambda data: data[:-40]), "cannot be read|cut off", by_header=False)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_compressed_files_with_a_changed_byte_are_refused(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = (save_nifti if "nii" in suffix else save_itk)(tmp_path / f"a{suffix}", VOXELS)
    refused(
        changed(path, lambda data: data[:-30] + bytes([data[-30] ^ 1]) + data[-29:]), "cannot|damaged", by_header=False
    )
    assert capfd.readouterr().err == ""


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    path = header_changed(save_nifti(tmp_path / "a.nii.gz", VOXELS), 40, "<4h", 3, 30000, 30000, 30000)
    refused(path, "values are the most")


def test_the_limit_counts_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_nifti(tmp_path / "a.nii", np.zeros((3, 4, 5, 2), np.uint8))
    monkeypatch.setattr(grids, "MAX_VALUES", 119)
    refused(path, "3x4x5x2 voxels; 119 values are the most")
    monkeypatch.setattr(grids, "MAX_VALUES", 120)
    assert read_header_shape(path) == (3, 4, 5, 2)


@pytest.mark.parametrize("side", [0, -5])
def test_sizes_that_are_not_positive_are_refused(tmp_path: Path, side: int) -> None:
    refused(header_changed(save_nifti(tmp_path / "a.nii", VOXELS), 42, "<h", side), f"has {side}x4x5 voxels")


def test_a_bomb_is_refused_and_not_inflated_beyond_its_declared_size(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", VOXELS)
    bomb = gzip.decompress(path.read_bytes()) + bytes(50_000_000)
    path.write_bytes(gzip.compress(bomb, 1))
    refused(path, "holds more than the 120 bytes", by_header=False)


@pytest.mark.parametrize("offset", [0, 100, 2e9, np.nan, -1])
def test_voxels_at_a_wrong_place_are_refused(tmp_path: Path, offset: float) -> None:
    path = header_changed(save_nifti(tmp_path / "a.nii.gz", VOXELS), 108, "<f", offset)
    refused(path, "voxels at byte|cannot be read")


@pytest.mark.parametrize(
    ("voxels", "reason"),
    [
        (np.ones((2, 2, 2), np.complex64), "complex"),
        (np.zeros((2, 2, 2, 4), np.uint8).view([(name, "u1") for name in "RGBA"])[..., 0], "colours RGBA"),
        (np.zeros((2, 2, 2, 2, 2), np.uint8), "2x2x2x2x2 voxels"),
    ],
    ids=["complex", "RGBA", "5D"],
)
def test_voxels_that_are_no_greys_or_channels_are_refused(tmp_path: Path, voxels: np.ndarray, reason: str) -> None:
    refused(save_nifti(tmp_path / "a.nii", voxels), reason)


@pytest.mark.parametrize(
    "rows", [[(0, 0, 0, 0)] * 3, [(1, 0, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0)], [(np.nan,) * 4] * 3], ids=str
)
def test_an_affine_that_places_nothing_is_refused(tmp_path: Path, rows: list[tuple[float, ...]]) -> None:
    sform = [value for row in rows for value in row]
    refused(header_changed(save_nifti(tmp_path / "a.nii", VOXELS), 280, "<12f", *sform), "the affine")


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_data_file_that_is_missing_is_refused(tmp_path: Path, suffix: str) -> None:
    path = save_itk(tmp_path / f"a{suffix}", VOXELS)
    for other in set(tmp_path.iterdir()) - {path}:
        other.unlink()
    refused(path, "does not exist")


def test_dicom_in_a_header_extension_is_not_parsed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 40))
    nib.save(image, tmp_path / "a.nii")
    broken = header_changed(tmp_path / "a.nii", 352, "<ii", 2**30, 2)  # a DICOM extension of 1 GiB
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(read_volume(broken).voxels, VOXELS)
