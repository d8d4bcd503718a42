"""Pixel accuracy, which MONAI does not have."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from monai.metrics.utils import do_metric_reduction

from ..case import Case
from .base import Metric


class PixelAccuracy(CumulativeIterationMetric):
    """Share of the pixels, 0-1, on which prediction and reference agree, averaged over images."""

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **_: Any) -> torch.Tensor:
        """Masks 0/1 of shape (B, C, H, W) to (B, C)."""
        if y is None or y.shape != y_pred.shape:
            raise ValueError(f"prediction is {tuple(y_pred.shape)}, reference {None if y is None else tuple(y.shape)}")
        return torch.as_tensor((y_pred.bool() == y.bool()).float().flatten(2).mean(2))

    def aggregate(self, reduction: str = "mean") -> torch.Tensor:
        """Mean over images, a scalar."""
        mean, _ = do_metric_reduction(torch.as_tensor(self.get_buffer()), reduction)
        return torch.as_tensor(mean)


def _accuracy(case: Case) -> float:
    both, _, _, neither = case.counts
    return (both + neither) / sum(case.counts)


PIXEL_ACCURACY = Metric(
    "pixel_accuracy",
    "Pixel accuracy",
    _accuracy,
    "empty masks count like all others; no image is left out",
    one_empty=_accuracy,
    create=PixelAccuracy,
    of_counts=True,
    source="10.1186/s12880-015-0068-x",
)
