from __future__ import annotations

import numpy as np
import pytest

from delineate.pipelines.imaging.overlay import YELLOW, draw_outline, draw_structures
from delineate.pipelines.imaging.structures import colours_of, structures_of
from delineate.pipelines.inference.outputs import UNNAMED


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


# several structures

CHEST = structures_of([{"name": name} for name in ("heart", "left lung", "right lung", "left clavicle")])


def quarters(height: int, width: int) -> list[np.ndarray]:
    masks = [np.zeros((height, width), np.uint8) for _ in range(4)]
    for number, mask in enumerate(masks):
        top, left = height // 2 * (number // 2), width // 2 * (number % 2)
        mask[top + 4 : top + height // 2 - 4, left + 4 : left + width // 2 - 4] = 1
    return masks


def test_one_structure_is_drawn_as_before_and_without_a_legend() -> None:
    image = np.full((*square().shape, 3), 80, np.uint8)
    (lesion,) = structures_of([{"name": "lesion"}])
    for one in (lesion, UNNAMED):
        np.testing.assert_array_equal(draw_structures(image, [square()], [one]), draw_outline(image, square()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(64, 64), (300, 200), (900, 1400)], ids=str)
def test_each_structure_has_its_colour_and_its_name_stands_below(size: tuple[int, int], channels: int) -> None:
    image = np.full((*size, channels), 80, np.uint8)
    overlay = draw_structures(image, quarters(*size), CHEST)
    inside, below = overlay[: size[0], : size[1]], overlay[size[0] :]
    for mask, colour in zip(quarters(*size), colours_of(CHEST), strict=True):
        line = (inside == colour).all(axis=-1)
        assert line.any()
        assert (below == colour).all(axis=-1).sum() >= 11 * 11
        assert not (line & (draw_outline(image, mask, (0, 0, 0)) != 0).any(axis=-1)).any()
    assert below.shape[0] >= 11
    assert overlay.shape[1] >= size[1]
    middle = inside[size[0] // 4, size[1] // 4]
    assert (middle == 80).all()


def test_no_name_is_cut_off_on_a_small_image() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    names = structures_of([{"name": "a"}, {"name": "W" * 40}])
    overlay = draw_structures(image, [np.zeros((20, 20), np.uint8)] * 2, names)
    written = (overlay[20:] > 100).any(axis=(0, 2)).nonzero()[0]
    assert written.max() < overlay.shape[1] - 1
    assert written.max() > 200


def test_a_colour_of_its_own_is_used() -> None:
    red = structures_of([{"name": "lesion", "colour": [255, 0, 0]}])
    overlay = draw_structures(np.zeros((*square().shape, 3), np.uint8), [square()], red)
    assert tuple(overlay[10, 12]) == (255, 0, 0)
