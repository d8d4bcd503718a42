from __future__ import annotations

from typing import Any

import pytest

from delineate.pipelines.evaluation.headline import headline, main_metrics


def scores(**counts: int) -> dict[str, Any]:
    return {name: {"value": 0.5 if count else None, "ci95": None, "count": count} for name, count in counts.items()}


EVERYWHERE = {"mean_dice": 9, "mean_iou": 9, "hd95_percent": 9, "nsd_1_percent": 9, "nsd_2_percent": 9}


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ({"hd95_mm": 9, "hd95_pixels": 0, "nsd_mm": 9}, ["hd95_mm", "nsd_mm"]),
        ({"hd95_mm": 0, "hd95_pixels": 9, "nsd_mm": 0}, ["hd95_pixels", "nsd_2_percent"]),
        ({"hd95_mm": 8, "hd95_pixels": 1, "nsd_mm": 8}, ["hd95_percent", "nsd_2_percent"]),
        ({}, ["hd95_percent", "nsd_2_percent"]),
    ],
    ids=["mm", "pixels", "some have a spacing", "older"],
)
def test_a_distance_is_in_the_best_unit_that_all_images_have(counts: dict[str, int], chosen: list[str]) -> None:
    assert main_metrics(scores(**EVERYWHERE, **counts)) == ["mean_dice", "mean_iou", *chosen]


def test_a_bundles_own_score_stands_behind_even_without_a_value() -> None:
    assert headline(scores(mean_dice=9, hausdorff=0) | {"count": 9}) == ["mean_dice", "hausdorff"]
