"""Intersection over union, the Jaccard index."""

from __future__ import annotations

from functools import partial

from monai.metrics import MeanIoU

from ..case import Case
from .base import Metric
from .dice import EMPTY


def _iou(case: Case) -> float:
    both, false_positive, false_negative, _ = case.counts
    return both / (both + false_positive + false_negative)


IOU = Metric(
    "mean_iou",
    "Mean IoU",
    _iou,
    EMPTY,
    create=partial(MeanIoU, ignore_empty=False),
    of_counts=True,
    source="10.1111/j.1469-8137.1912.tb05611.x",
)
