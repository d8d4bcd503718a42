from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from delineate.networks import sizes
from delineate.networks.sizes import check_size, crop_centre, fit_size, mirror_pad, next_size

SMALLEST, DIVISOR = st.integers(1, 200), st.integers(1, 64)
SIDE = st.integers(1, 9)
each_path = pytest.mark.parametrize("exporting", [False, True])


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def path(exporting: bool) -> AbstractContextManager[object]:
    """The way taken while ``torch.export`` looks on, or the ordinary one."""
    return patch.object(sizes, "_exporting", return_value=True) if exporting else nullcontext()


@given(pixels=st.integers(-10, 900), smallest=SMALLEST, divisor=DIVISOR)
def test_the_next_size_is_the_least_valid_one(pixels: int, smallest: int, divisor: int) -> None:
    valid = range(smallest, 2000, divisor)
    assert next_size(pixels, smallest, divisor) == next(size for size in valid if size >= pixels)


@given(height=st.integers(1, 300), width=st.integers(1, 300), smallest=SMALLEST, divisor=DIVISOR)
def test_an_image_is_taken_if_and_only_if_its_sides_are_the_next_valid_ones(
    height: int, width: int, smallest: int, divisor: int
) -> None:
    x = torch.empty(1, 1, height, width, device="meta")
    valid = [next_size(side, smallest, divisor) for side in (height, width)]
    if valid == [height, width]:
        check_size(x, smallest, divisor)
    else:
        with pytest.raises(ValueError, match=rf"\[{height}, {width}\] pixels.* pad it to \[{valid[0]}, {valid[1]}\]$"):
            check_size(x, smallest, divisor)


@pytest.mark.parametrize(
    ("smallest", "divisor", "needs"), [(16, 1, "16 or more a side"), (188, 16, "188 plus a multiple of 16 a side")]
)
def test_a_refusal_says_which_sizes_are_valid(smallest: int, divisor: int, needs: str) -> None:
    with pytest.raises(ValueError, match=f"this network needs {needs}; resize or pad it to"):
        check_size(image(1, 1, 15, 300), smallest, divisor)


def test_the_depth_of_a_volume_is_checked_too() -> None:
    check_size(image(1, 1, 8, 8, 8), 8)
    with pytest.raises(ValueError, match=r"\[8, 8, 8\]$"):
        check_size(image(1, 1, 8, 8, 7), 8)


@each_path
@given(height=SIDE, width=SIDE, to_height=SIDE, to_width=SIDE)
def test_fitting_cuts_or_repeats_the_last_row_and_column(
    exporting: bool, height: int, width: int, to_height: int, to_width: int
) -> None:
    x = image(2, 3, height, width)
    with path(exporting):
        fitted = fit_size(x, image(1, 1, to_height, to_width))
    rest = [(0, 0), (0, 0), (0, max(0, to_height - height)), (0, max(0, to_width - width))]
    assert np.array_equal(fitted, np.pad(x[..., :to_height, :to_width], rest, mode="edge"))


@each_path
def test_fitting_an_image_of_the_same_size_changes_nothing(exporting: bool) -> None:
    x = image(2, 3, 5, 7)
    with path(exporting):
        assert torch.equal(fit_size(x, image(1, 1, 5, 7)), x)


@each_path
def test_volumes_are_fitted_and_cropped_too(exporting: bool) -> None:
    x, like = image(1, 2, 5, 7, 9), image(1, 1, 3, 4, 9)
    with path(exporting):
        assert torch.equal(fit_size(x, like), x[:, :, :3, :4])
        assert torch.equal(crop_centre(x, like), x[:, :, 1:4, 1:5])


@each_path
@given(height=SIDE, width=SIDE, above=st.integers(0, 6), left=st.integers(0, 6), odd=st.integers(0, 1))
def test_the_centre_has_as_much_around_it_on_both_sides(
    exporting: bool, height: int, width: int, above: int, left: int, odd: int
) -> None:
    centre = image(2, 3, height, width)
    x = torch.nn.functional.pad(centre, (left, left + odd, above, above), value=-1.0)
    with path(exporting):
        assert torch.equal(crop_centre(x, image(1, 1, height, width)), centre)


@given(height=SIDE, width=SIDE, rows=st.integers(0, 60), columns=st.integers(0, 60))
def test_mirroring_is_numpys_reflection_however_small_the_image(
    height: int, width: int, rows: int, columns: int
) -> None:
    x = image(2, 3, height, width)
    around = [(0, 0), (0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)]
    assert np.array_equal(mirror_pad(x, [rows, columns]), np.pad(x, around, mode="reflect"))


def test_the_centre_of_a_mirrored_image_is_the_image() -> None:
    x = image(1, 3, 5, 6)
    assert torch.equal(crop_centre(mirror_pad(x, [11, 30]), x), x)
