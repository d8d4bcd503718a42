"""What a file's header says of its voxels, judged before they are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from ..pictures import MAX_PIXELS

MAX_VALUES = 2**29
"""More values are refused: 512 x 512 x 2048, a scan of the whole body in slices of 1 mm, is the most."""
MAX_BYTES = 2**31
"""More bytes are refused, unpacked."""
MAX_SIDE = 10_000
"""Longer axes are refused, whichever will be that of the slices: each slice is an image for the network."""

_SMALLER = "cut it or resample it"


class Grid(NamedTuple):
    """Voxels without their values.

    Attributes:
        shape: (I, J, K) or (I, J, K, C).
        affine: (4, 4), from (i, j, k, 1) to mm in RAS+.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]


def voxel_shape(path: Path, sizes: Sequence[int], channels: int = 1, itemsize: int = 1) -> tuple[int, ...]:
    """The shape of a `Volume` for sizes as a header gives them.

    Axes of length 1 after the third are left out; missing ones of the first three are added, of length 1.

    Args:
        path: named when refused.
        sizes: of all axes.
        channels: values in each voxel.
        itemsize: bytes of a value.

    Returns:
        (I, J, K) or (I, J, K, C).

    Raises:
        InputError: a size is no positive number, there are too many values, bytes, voxels along an axis or pixels in a
            plane, or more than four axes.
    """
    axes = [*map(int, sizes), *[1] * (3 - len(sizes)), channels]
    text = "x".join(map(str, axes[:-1]))
    if min(axes) < 1:
        raise InputError(path, f"has {text} voxels", "copy or download it again")
    others = [size for size in axes[3:] if size > 1]
    if len(others) > 1:
        raise InputError(path, f"has {text} voxels with {channels} values", "save a volume of at most four axes")
    limits = {
        f"{MAX_VALUES:,} values are the most": prod(axes) > MAX_VALUES,
        f"{MAX_BYTES >> 30} GiB are the most": prod(axes) * itemsize > MAX_BYTES,
        f"{MAX_SIDE:,} along an axis are the most": max(axes) > MAX_SIDE,
        f"{MAX_PIXELS / 1e6:.0f} million in a plane are the most": prod(sorted(axes[:3])[1:]) > MAX_PIXELS,
    }
    if broken := next((limit for limit, is_broken in limits.items() if is_broken), None):
        raise InputError(path, f"has {text} voxels; {broken}", _SMALLER)
    return (*axes[:3], *others)


def plain(values: NDArray[Any]) -> NDArray[Any]:
    """Integers as they are, other real numbers as float32, in this machine's byte order; too large is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        kind = np.dtype(np.float32) if values.dtype.kind == "f" else values.dtype.newbyteorder("=")
        return values.astype(kind, copy=False)
