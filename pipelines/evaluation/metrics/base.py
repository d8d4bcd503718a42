"""What is known of a metric beside its computation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from monai.metrics import CumulativeIterationMetric


@dataclass(frozen=True)
class Metric:
    """A metric of a predicted and a reference mask, as reports name and rank it.

    Attributes:
        name: of its column and of its entry in ``metrics.json``; in the history of a training with ``val_`` before it.
        title: as people read it.
        empty: what it gives where prediction or reference are empty.
        create: makes it: masks 0/1 (B, C, H, W) to (B, C).
        higher_is_better: whether 1 is better than 0.
        unit: e.g. ``mm``; empty where it has none.
        needs_spacing: whether it has to know how large pixels are.
    """

    name: str
    title: str
    empty: str
    create: Callable[[], CumulativeIterationMetric]
    higher_is_better: bool = True
    unit: str = ""
    needs_spacing: bool = False
