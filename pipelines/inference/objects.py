"""What DICOM objects need of a result: the frames of its source, and its arrays in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.dicom import SpacingKind
from ..imaging.dicom.series import read_slices
from ..imaging.held import HeldImage
from ..imaging.item import Item, kind_of
from ..imaging.objects import Picture
from ..imaging.reading import series_at
from ..imaging.volumes.planes import Affine, plane_axis
from ..imaging.volumes.slicing import Axis

_ORIENTATION = {"axial": ("L", "P"), "coronal": ("L", "F"), "sagittal": ("P", "F")}  # as `take_plane` shows them
_ACROSS = 2  # the axis of a volume's array along which the slices of a DICOM series lie


def frames_of(item: Item, is_volume: bool) -> tuple[tuple[Path, int], ...]:
    """File and frame, from 0, of each plane of a result, in the order of its arrays; none where it is no DICOM.

    Args:
        item: what names the image, as in `Segmentation`.
        is_volume: whether the result is one of a volume.

    Raises:
        InputError: a file of the series is no longer there, or can no longer be read.
    """
    if isinstance(item.image, HeldImage) or len(item.image) != 1:
        return ()
    if not is_volume:
        return ((item.file, item.slice or 0),) if kind_of(item.file) == "dicom" else ()
    if item.series is None:
        return ()
    return tuple((one.path, one.frame) for one in read_slices(series_at(item.file, item.series)))


def stacked(arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Arrays of structures, (H, W) or, of a volume, (I, J, K), as (S, F, R, C)."""
    found = np.stack(list(arrays.values()))
    return found[:, None] if found.ndim == 3 else found.transpose(0, 3, 2, 1)


def spacing_of(spacing: tuple[float, ...] | None, kind: SpacingKind | None) -> tuple[float, ...] | None:
    """Distances in the patient, in the order of `stacked`; of a detector's plane they are not: it magnifies.

    Args:
        spacing: as in `Segmentation`.
        kind: where they hold.
    """
    if spacing is None or kind == "detector":
        return None
    return spacing[::-1] if len(spacing) == 3 else spacing


def slice_picture(pixels: NDArray[np.uint8], affine: Affine, axis: Axis, index: int, frames: int) -> Picture:
    """A slice of a series as one shows it: it is of one frame, or, where it is cut across them, of all.

    Args:
        pixels: (H, W, 3), 0-255.
        affine: of the volume, (4, 4), to mm in RAS+.
        axis: that the slice is cut along.
        index: of the slice.
        frames: how many the series has.
    """
    shown: Sequence[int] = [index] if plane_axis(affine, axis) == _ACROSS else range(frames)
    return Picture(pixels, shown, _ORIENTATION[axis])
