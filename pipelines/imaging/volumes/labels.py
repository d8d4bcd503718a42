"""A slice of a label volume as a mask."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from .planes import take_plane
from .slicing import Axis
from .volume import Volume

_WHOLE = 1e-3  # how far a whole number may be off: scaled labels (SPM: 255 times 1/255) are not exact


def label_plane(volume: Volume, axis: Axis, index: int, values: Collection[int] | None = None) -> NDArray[np.uint8]:
    """The foreground of one slice.

    Args:
        volume: labels, whole numbers (also as floats); or (I, J, K, C), a binary mask in each channel, where channel c
            (from 1) holds what has the value c elsewhere.
        axis: anatomical.
        index: of the slice, from 0, in the order of the array.
        values: those that are foreground; ``None`` for all but 0.

    Returns:
        (H, W), 0 or 1.

    Raises:
        InputError: there are values that are no whole numbers, channels that are not binary, or no such channel.
    """
    labels = _whole(volume, take_plane(volume.voxels, volume.affine, axis, index))
    if labels.ndim == 3:
        return _of_channels(volume, labels, values).astype(np.uint8)
    return (labels != 0 if values is None else np.isin(labels, list(values))).astype(np.uint8)


def _whole(volume: Volume, plane: NDArray[Any]) -> NDArray[Any]:
    if plane.dtype.kind != "f":
        return plane
    whole: NDArray[Any] = np.rint(plane)
    others = plane[~np.isclose(plane, whole, rtol=0, atol=_WHOLE) | ~np.isfinite(plane)]
    if others.size:
        reason = f"label has values {_some(others)}, which are no whole numbers"
        raise InputError(volume.source, reason, "threshold it, or name a volume of labels")
    return whole


def _of_channels(volume: Volume, plane: NDArray[Any], values: Collection[int] | None) -> NDArray[np.bool_]:
    others = plane[(plane != 0) & (plane != 1)]
    if others.size:
        reason = f"label has {plane.shape[-1]} channels with values {_some(others)}"
        raise InputError(volume.source, reason, "save 0 and 1 in each channel, or labels in one")
    chosen = range(1, plane.shape[-1] + 1) if values is None else sorted(values)
    missing = [value for value in chosen if not 1 <= value <= plane.shape[-1]]
    if missing:
        reason = f"label has {plane.shape[-1]} channels; there is no channel {missing[0]}"
        raise InputError(volume.source, reason, f"choose from 1 to {plane.shape[-1]}")
    return np.asarray(plane[..., [value - 1 for value in chosen]].any(axis=-1))


def _some(values: NDArray[Any], most: int = 5) -> str:
    found = [f"{value:g}" for value in np.unique(values)]
    return ", ".join([*found[:most], "..."] if len(found) > most else found)
