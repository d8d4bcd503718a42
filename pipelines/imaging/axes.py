"""Lengths of what a mask outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform


def long_and_short_axis(mask: NDArray[np.uint8], spacing: tuple[float, float] = (1.0, 1.0)) -> tuple[float, float]:
    """The longest distance of two points, and the extent perpendicular to it, from the outer edges of pixels.

    Args:
        mask: (H, W), 0 or 1; all its parts together.
        spacing: distance of rows, of columns.

    Returns:
        in the unit of the spacing; 0 and 0 of an empty mask.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.0, 0.0
    corners = np.concatenate([np.stack([rows + down, columns + along], 1) for down in (0, 1) for along in (0, 1)])
    points = corners * np.asarray(spacing)
    hull = points[ConvexHull(points).vertices]
    apart = squareform(pdist(hull))
    first, second = np.unravel_index(apart.argmax(), apart.shape)
    along = (hull[second] - hull[first]) / apart[first, second]
    across = hull @ np.array([-along[1], along[0]])
    return float(apart[first, second]), float(across.max() - across.min())
