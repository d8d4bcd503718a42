"""Lengths of what a mask outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def long_and_short_axis(mask: NDArray[np.uint8], spacing: tuple[float, float] = (1.0, 1.0)) -> tuple[float, float]:
    """The longest distance of two points, and the extent perpendicular to it, from the outer edges of pixels.

    Args:
        mask: (H, W), 0 or 1; all its parts together.
        spacing: distance of rows, of columns.

    Returns:
        in the unit of the spacing; 0 and 0 of an empty mask.
    """
    if not mask.any():
        return 0.0, 0.0
    hull = _hull(_corners(mask)) * np.asarray(spacing)
    apart = np.linalg.norm(hull[:, None] - hull[None], axis=-1)
    first, second = np.unravel_index(apart.argmax(), apart.shape)
    along = (hull[second] - hull[first]) / apart[first, second]
    across = hull @ np.array([-along[1], along[0]])
    return float(apart[first, second]), float(across.max() - across.min())


def _corners(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The first and the last corner of a pixel on each line between rows (N, 2), line by line: the hull is of these."""
    edges = np.pad(mask.astype(bool), ((1, 1), (0, 1)))
    touched = edges[1:] | edges[:-1]  # (H + 1, W + 1): pixels above or below a line
    touched[:, 1:] |= touched[:, :-1]  # and their right corners
    lines = np.flatnonzero(touched.any(1))
    first = touched[lines].argmax(1)
    last = touched.shape[1] - 1 - touched[lines, ::-1].argmax(1)
    return np.stack([np.repeat(lines, 2), np.stack([first, last], 1).ravel()], 1)


def _hull(points: NDArray[np.int64]) -> NDArray[np.int64]:
    """Corners of the convex hull (N, 2) of sorted points, by Andrew's chain (https://doi.org/10.1016/0020-0190(79)90072-3).

    scipy has it, too; but the small runtime does without scipy.
    """
    return np.array([*_half(points.tolist()), *_half(points[::-1].tolist())])


def _half(points: list[list[int]]) -> list[list[int]]:
    """One side of the hull, without its last point."""
    side: list[list[int]] = []
    for row, column in points:
        while len(side) > 1 and _turn(side[-2], side[-1], [row, column]) <= 0:
            side.pop()
        side.append([row, column])
    return side[:-1]


def _turn(first: list[int], second: list[int], third: list[int]) -> int:
    """Positive where the way from the first point over the second to the third turns left."""
    (y, x), (to_y, to_x), (on_y, on_x) = first, second, third
    return (to_y - y) * (on_x - x) - (to_x - x) * (on_y - y)
