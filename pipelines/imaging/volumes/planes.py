"""Planes of volumes as DICOM shows them, and back.

Nothing is resampled: a plane is a transposed and mirrored view of the voxels, so what is put back lands on the voxel
it came from. An anatomical axis is the closest axis of the array; oblique volumes are cut along their own axes.
Axial planes have anterior at the top and the patient's right at the left; coronal ones superior and right;
sagittal ones superior and anterior. Slices are numbered from 0 as they lie in the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from ...core.errors import DelineateError, InputError, UnknownNameError
from .slicing import Axis
from .volume import Volume

Affine = NDArray[np.float64]

_ACROSS: dict[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis of RAS+ that a plane lies across
_FLAT = 1e-3  # least volume of a cell of unit edges; at 0 the axes lie in one plane
_TIE = 1e-3  # least difference of two cosines; at 45 degrees there is none
_SHIFT = 0.01  # of a voxel's shortest side: what rounding to float32 in a header may move


def orientation(affine: Affine) -> NDArray[np.intp]:
    """Where the axes of the array point.

    Args:
        affine: (4, 4), to mm in RAS+.

    Returns:
        (3, 2): for each axis of the array the closest axis of RAS+ (0-2); 1 where it runs that way, -1 where against.

    Raises:
        DelineateError: two axes are equally close, or the axes span no volume.
    """
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and (sides > 0).all()):
        raise DelineateError(f"the affine {affine[:3].tolist()} gives voxels no size")
    cosines = affine[:3, :3] / sides
    if abs(np.linalg.det(cosines)) < _FLAT:
        raise DelineateError(f"the affine {affine[:3].tolist()} puts all voxels into one plane")
    axes: NDArray[np.intp] = io_orientation(affine).astype(np.intp)
    ranked = np.sort(np.abs(cosines), axis=0)
    closest = np.abs(cosines)[axes[:, 0], range(3)]
    if (closest < ranked[2]).any() or (ranked[2] - ranked[1] < _TIE).any():
        raise DelineateError("the volume lies so obliquely that its axial, coronal and sagittal axes are not clear")
    return axes


def plane_axis(affine: Affine, axis: Axis) -> int:
    """The axis of the array (0-2) along which slices of an anatomical axis are counted.

    Raises:
        DelineateError: as `orientation` does.
        UnknownNameError: there is no such axis.
    """
    return _array_axes(affine, axis)[0]


def plane_count(grid: Volume | tuple[Sequence[int], Affine], axis: Axis) -> int:
    """How many slices there are.

    Args:
        grid: a volume, or shape and affine, as `read_grid` gives them.
        axis: anatomical.
    """
    shape, affine = (grid.voxels.shape, grid.affine) if isinstance(grid, Volume) else grid
    return shape[plane_axis(affine, axis)]


def plane_spacing(affine: Affine, axis: Axis) -> tuple[float, float]:
    """The distance of two rows and of two columns of a plane, in mm."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    _, rows, columns = _array_axes(affine, axis)
    return float(sides[rows]), float(sides[columns])


def take_plane(voxels: NDArray[Any], affine: Affine, axis: Axis, index: int) -> NDArray[Any]:
    """One slice as it is shown.

    Args:
        voxels: (I, J, K) or (I, J, K, C).
        affine: (4, 4), to mm in RAS+.
        axis: anatomical.
        index: from 0, in the order of the array.

    Returns:
        (H, W) or (H, W, C), a view.

    Raises:
        DelineateError: there is no such slice, or the axes are not clear.
    """
    planes = _planes(voxels, affine, axis)
    if not 0 <= index < len(planes):
        raise DelineateError(f"there is no {axis} slice {index}; slices are 0 to {len(planes) - 1}")
    view: NDArray[Any] = planes[index]
    return view


def put_plane(voxels: NDArray[Any], affine: Affine, axis: Axis, index: int, plane: NDArray[Any]) -> None:
    """Put a slice where `take_plane` takes it from; the arguments are the same.

    Args:
        voxels: changed in place.
        affine: as for `take_plane`.
        axis: as for `take_plane`.
        index: as for `take_plane`.
        plane: (H, W) or (H, W, C).

    Raises:
        DelineateError: the plane has another size than the slice.
    """
    place = take_plane(voxels, affine, axis, index)
    if plane.shape != place.shape:
        raise DelineateError(f"a plane of shape {plane.shape} does not fit {axis} slices of shape {place.shape}")
    place[...] = plane


def same_grid(one: Volume, other: Volume) -> None:
    """Make sure that two volumes have the same voxels: the same shape, and corners not apart.

    Allowed is a hundredth of a voxel's shortest side, which is what rounding in headers moves.

    Raises:
        InputError: about ``other``, with the shapes, or with the largest distance of two corners.
    """
    shape, other_shape = one.voxels.shape[:3], other.voxels.shape[:3]
    if shape != other_shape:
        reason = f"has {_times(other_shape)} voxels, {one.source} has {_times(shape)}"
        raise InputError(other.source, reason, "resample it to the same grid")
    shift = largest_shift(shape, one.affine, other.affine)
    if not shift <= _SHIFT * np.linalg.norm(one.affine[:3, :3], axis=0).min():
        reason = f"lies elsewhere: corners are up to {shift:.4g} mm away from those of {one.source}"
        raise InputError(other.source, reason, "resample it to the same grid, or correct its affine")


def largest_shift(shape: Sequence[int], one: Affine, other: Affine) -> float:
    """The largest distance of the corners of a grid under two affines, in mm."""
    corners = np.array([[*corner, 1] for corner in product(*((0, side - 1) for side in shape[:3]))])
    return float(np.linalg.norm(corners @ (one - other)[:3].T, axis=1).max())


def _array_axes(affine: Affine, axis: Axis) -> tuple[int, int, int]:
    """The axes of the array along which slices, rows and columns are counted."""
    if axis not in _ACROSS:
        raise UnknownNameError("axis", str(axis), _ACROSS)
    of_world = np.argsort(orientation(affine)[:, 0])
    rows, columns = (of_world[world] for world in (2, 1, 0) if world != _ACROSS[axis])
    return int(of_world[_ACROSS[axis]]), int(rows), int(columns)


def _planes(voxels: NDArray[Any], affine: Affine, axis: Axis) -> NDArray[Any]:
    """All slices, (N, H, W) or (N, H, W, C), a view.

    Rows and columns run to inferior, posterior or left, that is against RAS+ in every plane.
    """
    slices, rows, columns = _array_axes(affine, axis)
    ways = orientation(affine)[:, 1]
    down, along = (slice(None, None, -ways[side]) for side in (rows, columns))
    return voxels.transpose(slices, rows, columns, *range(3, voxels.ndim))[:, down, along]


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
