from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.imaging.volumes.formats import read_volume
from delineate.pipelines.imaging.volumes.volume import Volume
from delineate.pipelines.imaging.writers import VOLUME_FORMATS, write_pixels

MASK = np.random.default_rng(0).integers(0, 2, (3, 4, 5), dtype=np.uint8)
STRAIGHT = np.eye(4)
SHEARED = np.array([[1, 0.3, 0, 5], [0, 1, 0, 6], [0, 0.2, 2, 7], [0, 0, 0, 1]])


def made(affine: np.ndarray = STRAIGHT) -> Volume:
    return Volume(Path("made"), MASK, affine)


def source_of(folder: Path, image: nib.Nifti1Image) -> Volume:
    nib.save(image, folder / "source.nii.gz")
    return read_volume(folder / "source.nii.gz")


def test_nothing_but_the_geometry_of_a_nifti_is_kept(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5, 2), np.float32), SHEARED)
    image.set_qform(np.diag([2, 2, 2, 1]), code=2)
    image.header.set_xyzt_units("micron", "sec")
    image.header["descrip"] = image.header["db_name"] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    path = write_pixels(tmp_path / "mask.nii", MASK, source_of(tmp_path, image))
    assert b"Jane" not in path.read_bytes()
    header = nib.load(path).header
    assert header.get_data_dtype() == np.uint8
    assert header.get_slope_inter() in ((None, None), (1, 0))
    assert header.get_xyzt_units() == ("micron", "sec")
    assert (int(header["sform_code"]), int(header["qform_code"])) == (2, 2)
    np.testing.assert_array_equal(header["pixdim"][:4], image.header["pixdim"][:4])
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), MASK)


def test_a_nifti_without_orientation_stays_without(tmp_path: Path) -> None:
    source = source_of(tmp_path, nib.Nifti1Image(MASK, None))
    written = nib.load(write_pixels(tmp_path / "mask.nii.gz", MASK, source))
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (0, 0)
    np.testing.assert_array_equal(written.affine, source.affine)


@pytest.mark.parametrize("endianness", ["<", ">"])
def test_a_nifti_2_stays_one(tmp_path: Path, endianness: str) -> None:
    source = source_of(tmp_path, nib.Nifti2Image(MASK, SHEARED, nib.Nifti2Header(endianness=endianness)))
    written = nib.load(write_pixels(tmp_path / "mask.nii.gz", MASK, source))
    assert type(written) is nib.Nifti2Image
    np.testing.assert_array_equal(written.affine, SHEARED)
    np.testing.assert_array_equal(np.asarray(written.dataobj), MASK)


def test_a_nifti_of_another_source_has_scanner_coordinates(tmp_path: Path) -> None:
    affine = np.array([[0, -2.0, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    image = nib.load(write_pixels(tmp_path / "mask.nii", MASK, made(affine)))
    for matrix, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(matrix, affine, atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_shear_is_told_by_the_sform_alone(tmp_path: Path) -> None:
    image = nib.load(write_pixels(tmp_path / "mask.nii", MASK, made(SHEARED)))
    assert image.get_qform(coded=True)[1] == 0
    np.testing.assert_allclose(image.affine, SHEARED, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_nrrd_and_metaimage_keep_shear(tmp_path: Path, suffix: str) -> None:
    path = write_pixels(tmp_path / f"mask{suffix}", MASK, made(SHEARED))
    np.testing.assert_allclose(read_volume(path).affine, SHEARED, atol=1e-12)


def test_the_same_mask_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_pixels(tmp_path / f"{name}.nii.gz", MASK, made()).read_bytes() for name in "ab")
    assert first == second


def test_a_boolean_mask_is_written_as_0_and_1(tmp_path: Path) -> None:
    path = write_pixels(tmp_path / "mask.mha", MASK > 0, made())
    assert sitk.ReadImage(str(path)).GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(read_volume(path).voxels, MASK)


@pytest.mark.parametrize("name", ["mask.png", "mask.mhd", "mask.nhdr", "mask"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DelineateError, match=r"name it \.nii"):
        write_pixels(tmp_path / name, MASK, made())


@pytest.mark.parametrize("suffix", [f".{ending}" for ending in VOLUME_FORMATS])
def test_probabilities_come_back_as_written(tmp_path: Path, suffix: str) -> None:
    probability = np.random.default_rng(0).random(MASK.shape, np.float32)
    path = write_pixels(tmp_path / f"probability{suffix}", probability, made())
    assert np.array_equal(read_volume(path).voxels, probability)


def test_another_shape_or_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="does not fit"):
        write_pixels(tmp_path / "mask.nii", MASK[1:], made())
    with pytest.raises(ValueError, match="uint8, boolean or float32"):
        write_pixels(tmp_path / "mask.nii", MASK.astype(float), made())


def test_a_source_that_is_gone_is_refused_and_an_older_mask_stays(tmp_path: Path) -> None:
    source = source_of(tmp_path, nib.Nifti1Image(MASK, np.eye(4)))
    source.source.unlink()
    (tmp_path / "mask.nii").write_bytes(b"older")
    with pytest.raises(InputError, match=r"source.nii.gz: does not exist"):
        write_pixels(tmp_path / "mask.nii", MASK, source)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"older"]
