"""Precision and recall over all thresholds, from a histogram of probabilities that images add to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BINS = 256

Counts = NDArray[np.int64]


def probability_histogram(probability: torch.Tensor, reference: torch.Tensor) -> Counts:
    """How many pixels have which probability.

    Args:
        probability: of one structure, 0-1, (H, W); bin k holds k/256 up to (k + 1)/256, the last one 1, too.
        reference: 0 or 1, (H, W).

    Returns:
        (2, 256): of the reference's foreground, of its background.
    """
    bins = (probability.float() * BINS).long().clamp_(0, BINS - 1)
    found = torch.bincount((bins + BINS * (reference != 1)).flatten(), minlength=2 * BINS)
    return np.asarray(found.cpu().numpy().reshape(2, BINS), np.int64)


def precision_recall(histogram: Counts) -> dict[str, Any]:
    """Precision and recall of all pixels together, where each of probability k/256 or more is drawn.

    Args:
        histogram: (2, 256), as `probability_histogram` gives it, added up over images.

    Returns:
        ``counts``, and by threshold ``thresholds``, ``precision`` (``None`` where nothing is drawn) and ``recall``
        (``None`` without any foreground); ``average_precision``, the sum of precisions weighted with the recall that
        each adds.
    """
    true, false = (side[::-1].cumsum()[::-1] for side in histogram)  # pixels at or above each threshold
    drawn, foreground = true + false, int(histogram[0].sum())
    precision = np.divide(true, drawn, out=np.full(BINS, np.nan), where=drawn > 0)
    recall = true / foreground if foreground else np.full(BINS, np.nan)
    gained = -np.diff(recall, append=0.0)
    return {
        "counts": histogram.tolist(),
        "thresholds": (np.arange(BINS) / BINS).tolist(),
        "precision": _or_none(precision),
        "recall": _or_none(recall),
        "average_precision": float(np.nansum(precision * gained)) if foreground else None,
    }


def _or_none(values: NDArray[np.float64]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
