"""Images resized as ``torch.nn.functional.interpolate`` does it, bilinear and antialiased: of uint8 to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BITS, _WEIGHT_BITS = 22, 15  # of torch's whole-number weights


def resize(image: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Resize an image, columns before rows, as torch does.

    Args:
        image: (C, H, W), uint8 or float32, which it stays.
        size: rows and columns.
    """
    for axis, length in ((2, size[1]), (1, size[0])):
        if image.shape[axis] != length:
            lines = np.ascontiguousarray(np.moveaxis(image, axis, 0))
            image = np.moveaxis((_whole if image.dtype == np.uint8 else _exact)(lines, length), 0, axis)
    return np.ascontiguousarray(image)


def _exact(lines: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    places, weights = _weights(len(lines), length, np.float32)
    return _sum(lines, places, weights, np.zeros((length, *lines.shape[1:]), np.float32))


def _whole(lines: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    """By weights that are rounded to whole numbers of 15 bits, and sums to whole greys."""
    places, exact = _weights(len(lines), length, np.float64)
    limit, largest = 1 << _WEIGHT_BITS, float(exact.max())
    bits = next(n for n in range(_MOST_BITS + 1) if n == _MOST_BITS or int(0.5 + largest * (1 << (n + 1))) >= limit)
    weights = (exact * (1 << bits) + 0.5).astype(np.int32)
    half = np.full((length, *lines.shape[1:]), 1 << (bits - 1), np.int32)
    greys: NDArray[np.uint8] = np.clip(_sum(lines, places, weights, half) >> bits, 0, 255).astype(np.uint8)
    return greys


def _sum(lines: NDArray[Any], places: NDArray[np.int64], weights: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    each = (-1, *[1] * (lines.ndim - 1))
    for place, weight in zip(places.T, weights.T, strict=True):
        found += lines[place] * weight.reshape(each)
    return found


def _weights(before: int, after: int, kind: type[np.floating[Any]]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Which lines (``after``, N) make each new one, and how much of each: a triangle around its centre."""
    scale = kind(before) / kind(after)
    reach = max(scale, kind(1))
    centres = scale * (np.arange(after, dtype=kind) + kind(0.5))
    first = np.maximum((centres - reach + kind(0.5)).astype(np.int64), 0)
    behind = np.minimum((centres + reach + kind(0.5)).astype(np.int64), before)
    places = first[:, None] + np.arange((behind - first).max())
    weights = np.maximum(0, 1 - np.abs((places - centres[:, None] + kind(0.5)) * (kind(1) / reach)))
    weights[places >= behind[:, None]] = 0
    return np.minimum(places, before - 1), weights / weights.cumsum(1)[:, -1:]
