from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import (
    ConfusionMatrixMetric,
    CumulativeIterationMetric,
    DiceMetric,
    HausdorffDistanceMetric,
    MeanIoU,
    ROCAUCMetric,
    SurfaceDistanceMetric,
)

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.evaluation import PixelAccuracy
from delineate.pipelines.evaluation.per_structure import PerStructure

Create = Callable[[], CumulativeIterationMetric]
PLAIN: dict[str, Create] = {
    "dice": lambda: DiceMetric(ignore_empty=False),
    "iou": lambda: MeanIoU(ignore_empty=False),
    "pixel accuracy": PixelAccuracy,
}


def masks(*shape: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=draw) > torch.rand((*shape[:2], 1, 1), generator=draw)).to(torch.uint8)


def unannotated(label: torch.Tensor, *planes: tuple[int, int]) -> torch.Tensor:
    label = label.clone()
    for image, structure in planes:
        label[image, structure] = 255
    return label


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("count", [1, 2, 7, 33, 150])
def test_of_one_structure_it_is_the_metric_to_the_bit(name: str, count: int) -> None:
    pred, label = masks(count, 1, 9, 7, seed=count), masks(count, 1, 9, 7, seed=count + 1)
    pred[0], label[0] = 0, 0
    plain, ours = PLAIN[name](), PerStructure(PLAIN[name]())
    for metric in (plain, ours):
        metric([MetaTensor(one) for one in pred], [MetaTensor(one) for one in label])
    assert torch.equal(plain.get_buffer(), ours.get_buffer())
    assert float(plain.aggregate()) == float(ours.aggregate())


@pytest.mark.parametrize("name", PLAIN)
def test_each_structure_is_scored_by_itself(name: str) -> None:
    pred, label = masks(4, 3, 9, 7, seed=0), masks(4, 3, 9, 7, seed=1)
    values = PerStructure(PLAIN[name]())(pred, label)
    for s in range(3):
        assert torch.equal(values[:, s : s + 1], PLAIN[name]()(pred[:, s : s + 1], label[:, s : s + 1]))


def test_what_is_not_annotated_has_no_value_and_does_not_count() -> None:
    pred, label = masks(3, 2, 9, 7, seed=0), masks(3, 2, 9, 7, seed=1)
    metric = PerStructure(DiceMetric(ignore_empty=False))
    values = metric(pred, unannotated(label, (0, 1), (2, 0)))
    assert values.isnan().tolist() == [[False, True], [False, False], [True, False]]
    expected = np.mean([values[:2, 0].mean(), values[1:, 1].mean()])
    assert float(metric.aggregate()) == pytest.approx(expected)


def test_a_structure_that_nobody_annotated_is_not_in_the_mean() -> None:
    pred, label = masks(2, 2, 9, 7, seed=0), masks(2, 2, 9, 7, seed=1)
    metric, alone = (PerStructure(DiceMetric(ignore_empty=False)) for _ in range(2))
    metric(pred, unannotated(label, (0, 1), (1, 1)))
    alone(pred[:, :1], label[:, :1])
    assert float(metric.aggregate()) == float(alone.aggregate())


def test_without_any_annotation_nothing_can_be_scored() -> None:
    metric = PerStructure(DiceMetric(ignore_empty=False))
    metric(masks(2, 1, 4, 4, seed=0), torch.full((2, 1, 4, 4), 255))
    with pytest.raises(DelineateError, match="no structure is annotated in any image"):
        metric.aggregate()


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy", "ignore:the (ground truth|prediction) of class")
def test_a_value_that_is_not_finite_does_not_count() -> None:
    """MONAI's Hausdorff distance of an empty mask is infinite, of two empty ones NaN."""
    full, empty = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    metric = PerStructure(HausdorffDistanceMetric())
    values = metric(torch.cat([full, empty, empty]), torch.cat([full, full, empty]))
    assert values.isnan().flatten().tolist() == [False, True, True]
    assert float(metric.aggregate()) == 0


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy", "ignore:the (ground truth|prediction) of class")
def test_a_metric_without_any_value_has_no_mean() -> None:
    metric = PerStructure(HausdorffDistanceMetric())
    metric(torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4))
    assert metric.aggregate().isnan()


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy")  # MONAI's own
@pytest.mark.parametrize(
    "metric",
    [
        HausdorffDistanceMetric(percentile=95, get_not_nans=True),
        SurfaceDistanceMetric(symmetric=True),
        ConfusionMatrixMetric(metric_name="sensitivity"),
        ConfusionMatrixMetric(metric_name="precision", get_not_nans=True),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_other_metrics_of_monai_score_each_structure(metric: Any) -> None:
    label = torch.zeros(2, 3, 12, 12)
    label[:, :, 3:8, 4:9] = 1
    values = PerStructure(metric)(label.roll((1, 2), (2, 3)), label)
    assert values.shape == (2, 3)
    assert values.isfinite().all()


@pytest.mark.parametrize(
    ("metric", "seen"),
    [
        (ConfusionMatrixMetric(metric_name=["sensitivity", "precision"]), "2 lists of scores"),
        (ROCAUCMetric(), "0 lists of scores"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_metric_that_gives_not_one_score_is_refused_by_name(metric: Any, seen: str) -> None:
    with pytest.raises(DelineateError, match=f"{type(metric).__name__} gives {seen} for 1 masks, one each is needed"):
        PerStructure(metric)(masks(1, 1, 4, 4, seed=0), masks(1, 1, 4, 4, seed=1))


@pytest.mark.parametrize("label", [None, torch.zeros(1, 1, 3, 2)])
def test_masks_of_another_shape_are_refused(label: torch.Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"prediction is \(1, 1, 2, 2\)"):
        PerStructure(PixelAccuracy())(torch.zeros(1, 1, 2, 2), label)


def test_it_starts_anew_after_reset() -> None:
    metric = PerStructure(DiceMetric(ignore_empty=False))
    for pred in (torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)):
        metric.reset()
        metric(pred, torch.ones(1, 1, 2, 2))
    assert float(metric.aggregate()) == 1
