"""Intersection over union."""

from __future__ import annotations

from functools import partial

from monai.metrics import MeanIoU

from .base import Metric
from .dice import EMPTY

IOU = Metric("mean_iou", "Mean IoU", EMPTY, partial(MeanIoU, ignore_empty=False))
