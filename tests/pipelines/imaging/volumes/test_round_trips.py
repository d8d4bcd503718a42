from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from shared_data import SHARED

from delineate.pipelines.imaging.volumes.formats import read_grid, read_volume
from delineate.pipelines.imaging.volumes.planes import plane_count, plane_spacing, put_plane, same_grid, take_plane
from delineate.pipelines.imaging.volumes.slicing import Axis
from delineate.pipelines.imaging.volumes.volume import Volume
from delineate.pipelines.imaging.writers import write_pixels

NIFTI = SHARED / "nifti"
AXES: tuple[Axis, ...] = ("axial", "sagittal", "coronal")
ORIENTATIONS = [
    np.array(signs) * np.eye(3)[:, order] for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
rounded = settings(max_examples=40, deadline=None)


@st.composite
def affines(draw: Any) -> np.ndarray:
    """Any of the 48 orders and directions of the axes, at times oblique, with any spacing and origin."""
    spacing = draw(st.tuples(*[st.floats(0.1, 9)] * 3))
    way = draw(st.tuples(*[st.floats(-1, 1)] * 3))
    turn = Rotation.from_rotvec(np.array(way) / max(1, np.linalg.norm(way)) * np.deg2rad(40)).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ draw(st.sampled_from(ORIENTATIONS)) * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return affine


@st.composite
def labels(draw: Any) -> np.ndarray:
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    return np.random.default_rng(draw(st.integers(0, 99))).integers(0, 4, shape, dtype=np.uint8)


def cut_and_join(voxels: np.ndarray, affine: np.ndarray, axis: Axis) -> np.ndarray:
    joined = np.zeros_like(voxels)
    for index in range(plane_count((voxels.shape, affine), axis)):
        put_plane(joined, affine, axis, index, take_plane(voxels, affine, axis, index).copy())
    return joined


@rounded
@given(labels(), affines(), st.sampled_from(AXES))
def test_planes_put_back_give_the_same_volume(voxels: np.ndarray, affine: np.ndarray, axis: Axis) -> None:
    np.testing.assert_array_equal(cut_and_join(voxels, affine, axis), voxels)


@rounded
@given(labels(), affines(), st.sampled_from(AXES))
def test_rows_and_columns_of_planes_run_as_dicom_shows_them(voxels: np.ndarray, affine: np.ndarray, axis: Axis) -> None:
    places = np.moveaxis(np.indices(voxels.shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    plane = take_plane(places, affine, axis, 0)
    down, along = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}[axis]
    assert (np.diff(plane[..., down], axis=0) < 0).all()  # against RAS+: to posterior, inferior or left
    assert (np.diff(plane[..., along], axis=1) < 0).all()
    steps = [np.linalg.norm(np.diff(plane, axis=side), axis=-1) for side in (0, 1)]
    for step, spacing in zip(steps, plane_spacing(affine, axis), strict=True):
        np.testing.assert_allclose(step, spacing, rtol=1e-6)


@rounded
@given(labels(), affines(), st.sampled_from((".nii", ".nii.gz")), st.sampled_from(AXES))
def test_a_mask_of_a_nifti_has_its_voxels_and_affine(
    voxels: np.ndarray, affine: np.ndarray, suffix: str, axis: Axis
) -> None:
    with TemporaryDirectory() as folder:
        image = nib.Nifti1Image(voxels, affine)
        image.set_qform(affine, code=1)
        nib.save(image, f"{folder}/source.nii.gz")
        source = read_volume(f"{folder}/source.nii.gz")
        mask = cut_and_join(source.voxels, source.affine, axis)
        written = nib.load(write_pixels(f"{folder}/mask{suffix}", mask, source))
        np.testing.assert_array_equal(np.asarray(written.dataobj), voxels)
        np.testing.assert_array_equal(written.affine, source.affine)
        for form in ("get_sform", "get_qform"):
            of_source, of_mask = (getattr(one, form)(coded=True) for one in (nib.load(source.source), written))
            np.testing.assert_array_equal(of_mask[0], of_source[0])
            assert of_mask[1] == of_source[1]


@rounded
@given(labels(), affines(), st.sampled_from((".nii.gz", ".nrrd", ".mha")))
def test_every_format_puts_voxels_where_simpleitk_sees_them(
    voxels: np.ndarray, affine: np.ndarray, suffix: str
) -> None:
    with TemporaryDirectory() as folder:
        path = write_pixels(f"{folder}/mask{suffix}", voxels, Volume(Path("made"), voxels, affine))
        volume, image = read_volume(path), sitk.ReadImage(str(path))
        last = [side - 1 for side in voxels.shape]
        place = np.array(image.TransformIndexToPhysicalPoint(last)) * (-1, -1, 1)
        np.testing.assert_allclose((volume.affine @ [*last, 1])[:3], place, atol=1e-3)
        np.testing.assert_array_equal(volume.voxels, voxels)
        assert image.GetPixel(last) == voxels[tuple(last)]
        same_grid(Volume(Path("made"), voxels, affine), volume)


@pytest.mark.parametrize("source", [".mha", ".nrrd", ".nii"])
@pytest.mark.parametrize("target", [".mha", ".nrrd", ".nii", ".nii.gz"])
def test_formats_agree_on_a_grid(tmp_path: Path, source: str, target: str) -> None:
    affine = np.array([[0, -1.5, 0, 30], [0, 0, 2, -7], [3, 0, 0, 11], [0, 0, 0, 1]])
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    first = read_volume(write_pixels(tmp_path / f"a{source}", voxels, Volume(Path("made"), voxels, affine)))
    second = read_volume(write_pixels(tmp_path / f"b{target}", first.voxels, first))
    np.testing.assert_array_equal(second.voxels, voxels)
    np.testing.assert_array_equal(second.affine, first.affine)


def real_volumes() -> list[Path]:
    return sorted(NIFTI.rglob("*.nii*"))


@pytest.mark.skipif(not NIFTI.is_dir(), reason="needs shared/data")
def test_real_volumes_have_the_voxels_that_simpleitk_sees() -> None:
    assert len(real_volumes()) > 40
    for path in real_volumes():
        volume, image = read_volume(path), sitk.ReadImage(str(path))
        axes = image.GetDimension()
        expected = sitk.GetArrayFromImage(image)
        expected = expected.transpose(*reversed(range(axes)), *range(axes, expected.ndim))
        np.testing.assert_array_equal(volume.voxels, expected)
        assert read_grid(path).shape == volume.voxels.shape


@pytest.mark.skipif(not NIFTI.is_dir(), reason="needs shared/data")
@pytest.mark.parametrize(
    "name",
    [
        "spleen_ct/sub-spleen2_ct_seg-manual.nii.gz",
        "spine_mr_sct/t2_seg-manual.nii.gz",
        "prostate_us_mr/fixed_labels/case000001.nii.gz",
    ],
    ids=["RAS", "PSR", "4D"],
)
@pytest.mark.parametrize("axis", AXES)
def test_real_labels_cut_and_written_come_back_unchanged(tmp_path: Path, name: str, axis: Axis) -> None:
    source = read_volume(NIFTI / name)
    joined = cut_and_join(source.voxels, source.affine, axis)
    np.testing.assert_array_equal(joined, source.voxels)
    mask = (joined if joined.ndim == 3 else joined.any(axis=-1)).astype(np.uint8)
    written = read_volume(write_pixels(tmp_path / "mask.nii.gz", mask, source))
    np.testing.assert_array_equal(written.voxels, mask)
    np.testing.assert_array_equal(written.affine, source.affine)
