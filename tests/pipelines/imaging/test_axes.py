"""Long and short axes of masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from delineate.pipelines.imaging.axes import long_and_short_axis


def test_an_empty_mask_has_none() -> None:
    assert long_and_short_axis(np.zeros((4, 5), np.uint8)) == (0, 0)


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 3), st.floats(0.1, 3))
def test_a_box_has_its_diagonal_and_what_lies_across(rows: int, columns: int, high: float, wide: float) -> None:
    mask = np.pad(np.ones((rows, columns), np.uint8), 2)
    sides = rows * high, columns * wide
    diagonal = float(np.hypot(*sides))
    assert long_and_short_axis(mask, (high, wide)) == pytest.approx((diagonal, 2 * sides[0] * sides[1] / diagonal))


def test_a_disc_has_its_diameter_twice() -> None:
    rows, columns = np.mgrid[:101, :101] - 50
    lengths = long_and_short_axis((np.hypot(rows, columns) <= 40).astype(np.uint8), (0.5, 0.5))
    assert lengths == pytest.approx((40.5, 40.5), abs=0.5)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1)))
def test_the_long_axis_is_that_of_scipys_hull_of_all_corners(mask: np.ndarray) -> None:
    assume(mask.any())
    rows, columns = np.nonzero(mask)
    corners = np.concatenate([np.stack([rows + down, columns + along], 1) for down in (0, 1) for along in (0, 1)])
    spacing = np.array([0.3, 0.7])
    hull = corners[ConvexHull(corners).vertices] * spacing
    assert long_and_short_axis(mask, (0.3, 0.7))[0] == pytest.approx(pdist(hull).max())
