"""Long and short axes of masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
