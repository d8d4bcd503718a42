from __future__ import annotations

import numpy as np
import pytest

from delineate.pipelines.imaging.overlay import YELLOW, draw_outline


def square(size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size + 10), np.uint8)
    mask[10:30, 12:34] = 1
    return mask


def drawn(image: np.ndarray, outlined: np.ndarray) -> np.ndarray:
    return (image != outlined).any(axis=-1)


def test_one_pixel_outline_is_the_rim_of_the_mask() -> None:
    mask = square()
    image = np.zeros((*mask.shape, 3), np.uint8)
    rim = mask.copy()
    rim[11:29, 13:33] = 0
    np.testing.assert_array_equal(drawn(image, draw_outline(image, mask, width=1)), rim == 1)


@pytest.mark.parametrize("width", [1, 2, 3, 6])
def test_outline_is_as_wide_as_asked(width: int) -> None:
    mask = square()
    image = np.zeros((*mask.shape, 3), np.uint8)
    line = drawn(image, draw_outline(image, mask, width=width))
    assert line[20, : mask.shape[1] // 2].sum() == width


def test_line_widens_with_the_image() -> None:
    areas = []
    for size in (200, 1200):
        mask = np.zeros((size, size), np.uint8)
        mask[50:150, 50:150] = 1
        image = np.zeros((size, size, 1), np.uint8)
        areas.append(drawn(image, draw_outline(image, mask)).sum())
    assert areas[1] > 3 * areas[0]


def test_grey_image_gets_a_coloured_outline_and_keeps_the_rest() -> None:
    mask = square()
    image = np.arange(mask.size, dtype=np.uint32).reshape(*mask.shape, 1).astype(np.uint8)
    outlined = draw_outline(image, mask)
    assert outlined.shape == (*mask.shape, 3)
    assert tuple(outlined[10, 12]) == YELLOW
    assert (outlined[20, 20] == image[20, 20]).all()


def test_empty_mask_leaves_the_image_as_it_is() -> None:
    image = np.full((9, 7, 3), 80, np.uint8)
    np.testing.assert_array_equal(draw_outline(image, np.zeros((9, 7), np.uint8)), image)


def test_full_mask_is_outlined_along_the_edge() -> None:
    image = np.zeros((9, 7, 3), np.uint8)
    line = drawn(image, draw_outline(image, np.ones((9, 7), np.uint8)))
    assert line[0].all()
    assert line[:, -1].all()
    assert not line[1:-1, 1:-1].any()


def test_given_image_is_not_drawn_on() -> None:
    mask = square()
    image = np.zeros((*mask.shape, 3), np.uint8)
    draw_outline(image, mask)
    assert not image.any()


def test_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image is \(8, 9\), its mask \(9, 8\)"):
        draw_outline(np.zeros((8, 9, 3), np.uint8), np.zeros((9, 8), np.uint8))
