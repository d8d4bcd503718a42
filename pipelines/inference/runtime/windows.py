"""A network slid over an image, as MONAI's ``SlidingWindowInferer`` does it in our bundles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..backends import Compute

Floats = NDArray[np.float32]
_OVERLAP, _SIGMA, _LEAST, _AT_ONCE = 0.25, 0.125, 1e-3, 4


def slide(image: Floats, window: Sequence[int], compute: Compute) -> tuple[Floats, list[Floats]]:
    """Logits of an image, those of overlapping windows averaged by a Gaussian around the middle of each.

    Args:
        image: (1, C, H, W).
        window: rows and columns of what the network is given; a smaller image is continued by zeros.
        compute: images to logits and features.

    Returns:
        logits (1, out_channels, H, W); of each member of the network its features (D,), the mean over windows.
    """
    missing = [max(side - have, 0) for side, have in zip(window, image.shape[2:], strict=True)]
    padded = np.pad(image, [(0, 0), (0, 0), *((gap // 2, gap - gap // 2) for gap in missing)])
    rows, columns = padded.shape[2:]
    places = list(product(_starts(rows, window[0]), _starts(columns, window[1])))
    weight = _importance(window)
    total, shares, seen = np.zeros((), np.float32), np.zeros((rows, columns), np.float32), list[list[Floats]]()
    for first in range(0, len(places), _AT_ONCE):
        some = [(slice(top, top + window[0]), slice(left, left + window[1])) for top, left in places[first:][:_AT_ONCE]]
        logits, *features = compute(np.concatenate([padded[:, :, down, across] for down, across in some]))
        seen.append(features)
        if not total.ndim:
            total = np.zeros((logits.shape[1], rows, columns), np.float32)
        for (down, across), each in zip(some, logits, strict=True):
            total[:, down, across] += each * weight
            shares[down, across] += weight
    top, left = (gap // 2 for gap in missing)
    whole = (total / shares)[None, :, top : top + image.shape[2], left : left + image.shape[3]]
    return whole, [np.concatenate(each).mean(0) for each in zip(*seen, strict=True)]


def _starts(length: int, side: int) -> list[int]:
    """Where windows begin along an axis; the last ends with the image."""
    step = max(int(side * (1 - _OVERLAP)), 1)
    return [min(number * step, length - side) for number in range(-(-(length - side) // step) + 1)]


def _importance(window: Sequence[int]) -> Floats:
    """(H, W), above 0."""
    rows, columns = (
        np.exp(np.arange(-(side - 1) / 2, (side - 1) / 2 + 1, dtype=np.float32) ** 2 / (-2 * (_SIGMA * side) ** 2))
        for side in window
    )
    weight: Floats = (rows[:, None] * columns).astype(np.float32)
    return np.maximum(weight, max(float(weight.min()), _LEAST))
