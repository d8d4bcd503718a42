from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from delineate.pipelines.core.errors import DelineateError, InputError, UnknownNameError
from delineate.pipelines.imaging.volumes.planes import (
    plane_axis,
    plane_count,
    plane_spacing,
    put_plane,
    same_grid,
    take_plane,
)
from delineate.pipelines.imaging.volumes.slicing import Axis
from delineate.pipelines.imaging.volumes.volume import Volume

TILT = Rotation.from_euler("xyz", [12, -20, 9], degrees=True).as_matrix()
DIRECTIONS = {
    "RAS": np.eye(3),
    "LPS": np.diag([-1.0, -1, 1]),
    "PSR": np.array([[0.0, 0, 1], [-1, 0, 0], [0, 1, 0]]),
    "LAS": np.diag([-1.0, 1, 1]),
    "oblique RAS": TILT,
    "oblique LIA": TILT @ np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


def affine_of(directions: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    return affine


def marked(directions: np.ndarray, world: np.ndarray) -> np.ndarray:
    """A cube of 3 voxels whose corner (or edge, or face) on that side of the patient is 1."""
    voxels = np.zeros((3, 3, 3), np.uint8)
    array_way = np.rint(np.linalg.inv(np.rint(directions)) @ world).astype(int)
    voxels[tuple(array_way + 1)] = 1
    return voxels


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize(
    ("axis", "world", "corner"),
    [
        ("axial", (1, 1, 0), (0, 0)),  # right and anterior: top left
        ("axial", (-1, 1, 0), (0, 2)),
        ("axial", (1, -1, 0), (2, 0)),
        ("coronal", (1, 0, 1), (0, 0)),  # right and superior: top left
        ("coronal", (-1, 0, 1), (0, 2)),
        ("coronal", (1, 0, -1), (2, 0)),
        ("sagittal", (0, 1, 1), (0, 0)),  # anterior and superior: top left
        ("sagittal", (0, -1, 1), (0, 2)),
        ("sagittal", (0, 1, -1), (2, 0)),
    ],
)
def test_a_marked_corner_is_shown_where_a_radiologist_expects_it(
    name: str, axis: Axis, world: tuple[int, int, int], corner: tuple[int, int]
) -> None:
    voxels = marked(DIRECTIONS[name], np.array(world))
    plane = take_plane(voxels, affine_of(DIRECTIONS[name]), axis, 1)
    assert np.argwhere(plane).tolist() == [list(corner)]


def test_slices_are_numbered_as_they_lie_in_the_array() -> None:
    voxels = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for directions in (np.eye(3), np.diag([1.0, 1, -1])):
        for index in range(4):
            plane = take_plane(voxels, affine_of(directions), "axial", index)
            np.testing.assert_array_equal(plane, voxels[::-1, ::-1, index].T)


def test_counts_axes_and_spacings_belong_to_the_anatomical_axis() -> None:
    affine = affine_of(DIRECTIONS["PSR"], (0.5, 3, 0.8))
    volume = Volume(Path("a"), np.zeros((4, 5, 6, 2)), affine)
    axes: tuple[Axis, ...] = ("axial", "sagittal", "coronal")
    assert [plane_axis(affine, axis) for axis in axes] == [1, 2, 0]
    assert [plane_count(volume, axis) for axis in axes] == [5, 6, 4]
    assert [plane_count(((4, 5, 6), affine), axis) for axis in axes] == [5, 6, 4]
    assert [plane_spacing(affine, axis) for axis in axes] == [(0.5, 0.8), (3.0, 0.5), (3.0, 0.8)]


def test_channels_stay_last() -> None:
    voxels = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    plane = take_plane(voxels, np.eye(4), "axial", 1)
    assert plane.shape == (3, 2, 2)
    np.testing.assert_array_equal(plane[..., 1], take_plane(voxels[..., 1], np.eye(4), "axial", 1))


def test_planes_are_views() -> None:
    voxels = np.zeros((2, 3, 4))
    assert np.shares_memory(voxels, take_plane(voxels, np.eye(4), "coronal", 0))


@pytest.mark.parametrize("index", [-1, 4])
def test_a_slice_that_is_not_there_is_refused(index: int) -> None:
    with pytest.raises(DelineateError, match=f"no axial slice {index}; slices are 0 to 3"):
        take_plane(np.zeros((2, 3, 4)), np.eye(4), "axial", index)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2), (3, 2, 1)])
def test_a_plane_of_another_shape_is_not_put_back(shape: tuple[int, ...]) -> None:
    with pytest.raises(DelineateError, match="does not fit"):
        put_plane(np.zeros((2, 3, 4)), np.eye(4), "axial", 0, np.ones(shape))


def test_an_unknown_axis_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="no axis is called 'axail'; did you mean 'axial'"):
        plane_axis(np.eye(4), "axail")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.zeros((3, 3)), "no size"),
        (np.full((3, 3), np.nan), "no size"),
        (np.ones((3, 3)), "one plane"),
        (Rotation.from_euler("z", 45, degrees=True).as_matrix(), "not clear"),
        (np.array([[1, 0.9, 0], [0, 0.4, 0], [0, 0, 1]]), "not clear"),
    ],
    ids=["zero", "nan", "singular", "45 degrees", "two axes to the right"],
)
def test_an_affine_without_clear_axes_is_refused(matrix: np.ndarray, reason: str) -> None:
    with pytest.raises(DelineateError, match=reason):
        plane_axis(affine_of(matrix), "axial")


def moved(millimetres: float, shape: tuple[int, ...] = (4, 4, 4)) -> Volume:
    affine = np.eye(4)
    affine[0, 3] = millimetres
    return Volume(Path(f"moved{millimetres}"), np.zeros(shape), affine)


def test_grids_that_differ_by_rounding_are_the_same() -> None:
    same_grid(moved(0), moved(1e-4, (4, 4, 4, 2)))


def test_grids_of_different_shape_are_refused_with_their_shapes() -> None:
    with pytest.raises(InputError, match="has 4x4x3 voxels, moved0 has 4x4x4"):
        same_grid(moved(0), moved(0, (4, 4, 3)))


@pytest.mark.parametrize("distance", [0.5, np.nan])
def test_grids_that_lie_elsewhere_are_refused_with_their_distance(distance: float) -> None:
    with pytest.raises(InputError, match=f"corners are up to {distance} mm away"):
        same_grid(moved(0), moved(distance))


def test_a_small_turn_is_measured_at_the_corners() -> None:
    affine = affine_of(Rotation.from_euler("z", 0.1, degrees=True).as_matrix())
    with pytest.raises(InputError, match="corners are up to"):
        same_grid(
            Volume(Path("a"), np.zeros((200, 200, 2)), np.eye(4)), Volume(Path("b"), np.zeros((200, 200, 2)), affine)
        )
