"""Pixel accuracy, beside MONAI's Dice and IoU, and the interval of a mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.metrics.utils import do_metric_reduction


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


def interval_text(score: Mapping[str, Any]) -> str:
    """The interval of a score as `mean_with_interval` gives it: ``0.8450 - 0.8940``."""
    return "{:.4f} - {:.4f}".format(*score["ci95"]) if score["ci95"] else "unknown: one group"


def mean_with_interval(
    values: Sequence[float], groups: Sequence[str] | None = None, resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Mean of per-image values with its 95 % percentile bootstrap interval.

    Whole groups are drawn, because images of one patient are not independent.
    Efron B, Tibshirani R. Bootstrap Methods for Standard Errors. Stat Sci 1986, https://doi.org/10.1214/ss/1177013815.

    Args:
        values: one value an image.
        groups: the group of each image; each image is its own where ``None``.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Returns:
        ``{"value": mean, "ci95": [low, high]}``; of a single group ``"ci95"`` is ``None``: nothing tells how far
        another would lie.

    Raises:
        ValueError: when there are no values, or not as many groups.
    """
    if not len(values) or (groups is not None and len(groups) != len(values)):
        raise ValueError(f"got {len(values)} values and {None if groups is None else len(groups)} groups")
    _, which = np.unique(np.asarray(groups if groups is not None else np.arange(len(values))), return_inverse=True)
    sums, counts = np.bincount(which, weights=values), np.bincount(which)
    if len(sums) < 2:
        return {"value": float(np.mean(values)), "ci95": None}
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(0, len(sums), len(sums))
        means[i] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, (0.025, 0.975))
    return {"value": float(np.mean(values)), "ci95": [float(low), float(high)]}
