"""A slice of one or several volumes as the channels that a network takes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DelineateError
from .planes import plane_count, same_grid, take_plane
from .slicing import Slicing
from .volume import Volume
from .windows import Percentiles, Window, resolve, show

_RESOLVED: dict[tuple[int, int, Window | Percentiles | None], Window] = {}


def planes_as_channels(volumes: Sequence[Volume], slicing: Slicing, index: int) -> NDArray[np.uint8]:
    """One slice with its neighbours, in grey.

    The channels are those of the first volume, slice ``index - neighbours`` to ``index + neighbours``, then those of
    the next; a volume that has several channels itself counts as so many volumes. Beyond an end its last slice is
    repeated. Percentiles are those of a channel in the whole volume; they are found once.

    Args:
        volumes: the modalities of one case, on one grid.
        slicing: with an axis; one window for all, one for each volume, or one for each of their channels.
        index: of the slice, from 0, in the order of the array.

    Returns:
        (H, W, C) uint8, 0-255; C is the volumes' channels times (2 neighbours + 1).

    Raises:
        DelineateError: there is no such slice, no axis, or another number of windows.
        InputError: the volumes have different grids.
    """
    axis, first = slicing.axis, volumes[0]
    if axis is None:
        raise DelineateError("volumes need an axis to be cut along; set it to axial, coronal or sagittal")
    for other in volumes[1:]:
        same_grid(first, other)
    take_plane(first.voxels, first.affine, axis, index)  # refuses an index that is not there
    around = range(index - slicing.neighbours, index + slicing.neighbours + 1)
    indices = np.clip(around, 0, plane_count(first, axis) - 1).tolist()
    greys = []
    for (volume, part), window in _with_windows(volumes, slicing):
        limits = _resolved(volume, part, window)
        planes = (take_plane(_channel(volume, part), volume.affine, axis, i) for i in indices)
        greys += [show(plane, limits, volume.inverted) for plane in planes]
    return np.stack(greys, axis=-1)


def _with_windows(
    volumes: Sequence[Volume], slicing: Slicing
) -> Iterator[tuple[tuple[Volume, int], Window | Percentiles | None]]:
    """Each channel of each volume, with its window."""
    parts = [(volume, part) for volume in volumes for part in range(_count_channels(volume))]
    windows = slicing.windows
    if len(windows) == 1:
        windows = windows * len(parts)
    elif len(windows) == len(volumes):
        windows = [
            window for volume, window in zip(volumes, windows, strict=True) for _ in range(_count_channels(volume))
        ]
    if len(windows) != len(parts):
        counts = f"{len(windows)} windows for {len(volumes)} volumes with {len(parts)} channels"
        raise DelineateError(f"there are {counts}; give one window, or one for each")
    return zip(parts, windows, strict=True)


def _count_channels(volume: Volume) -> int:
    return volume.voxels.shape[3] if volume.voxels.ndim == 4 else 1


def _channel(volume: Volume, part: int) -> NDArray[Any]:
    voxels: NDArray[Any] = volume.voxels[..., part] if volume.voxels.ndim == 4 else volume.voxels
    return voxels


def _resolved(volume: Volume, part: int, window: Window | Percentiles | None) -> Window:
    """`resolve`, kept as long as the volume."""
    key = id(volume), part, window
    if key not in _RESOLVED:
        _RESOLVED[key] = resolve(window, _channel(volume, part), volume.window)
        weakref.finalize(volume, _RESOLVED.pop, key, None)
    return _RESOLVED[key]
