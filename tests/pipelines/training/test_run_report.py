from __future__ import annotations

import pytest

from delineate.pipelines.training.report import chosen_cases


@pytest.mark.parametrize(
    ("images", "chosen"), [(100, {12, 37, 62, 87}), (4, {0, 1, 2, 3}), (3, {0, 1, 2}), (1, {0}), (0, set())]
)
def test_the_images_that_are_drawn_are_spread_over_the_validation(images: int, chosen: set[int]) -> None:
    assert chosen_cases(images, 4) == chosen
