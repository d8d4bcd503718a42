from __future__ import annotations

import numpy as np
import pytest

from delineate.pipelines.evaluation.pictures import draw_errors
from delineate.pipelines.imaging.structures import Structure

GREY = np.full((400, 400, 3), 100, np.uint8)


def square(left: int, right: int) -> np.ndarray:
    mask = np.zeros((1, 400, 400), np.uint8)
    mask[0, 100:300, left:right] = 1
    return mask


def colour(picture: np.ndarray, row: int, column: int) -> str:
    red, _, blue = picture[row, column].astype(int)
    return "red" if red > blue + 50 else "blue" if blue > red + 50 else "grey"


def test_missed_area_is_red_false_area_blue_and_the_rest_as_it_was() -> None:
    drawn = draw_errors(GREY, square(150, 300), square(50, 200))
    assert [colour(drawn, 200, column) for column in (100, 175, 250, 350)] == ["red", "grey", "blue", "grey"]
    assert (drawn[200, 175] == 100).all()


def test_what_nobody_annotated_is_left_out() -> None:
    reference = np.full((1, 400, 400), 255, np.uint8)
    assert (draw_errors(GREY, square(50, 200), reference) == GREY).all()


def test_the_line_of_the_prediction_is_dashed() -> None:
    both = (Structure("a", colour=(0, 255, 0)), Structure("b", colour=(255, 255, 255)))
    empty = np.zeros_like(square(0, 1))
    drawn = draw_errors(GREY, np.concatenate([square(50, 200), empty]), np.concatenate([empty, square(250, 350)]), both)
    dashed, solid = (
        (drawn[120:280, column] == one.colour).all(-1).mean() for column, one in zip((50, 250), both, strict=True)
    )
    assert 0.3 < dashed < 0.7
    assert solid == 1


@pytest.mark.parametrize(("size", "longest"), [((2000, 100), 640), ((50, 70), 280), ((500, 400), 500)])
def test_a_large_image_is_made_smaller_and_a_small_one_larger(size: tuple[int, int], longest: int) -> None:
    image, masks = np.zeros((*size, 1), np.uint8), np.zeros((1, *size), np.uint8)
    assert max(draw_errors(image, masks, masks).shape) == longest
