"""What is known of a metric beside its computation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from monai.metrics import CumulativeIterationMetric

from ..case import Case


@dataclass(frozen=True)
class Metric:
    """A metric of a predicted and a reference mask, as reports name and rank it.

    Attributes:
        name: of its column and of its entry in ``metrics.json``; in the history of a training with ``val_`` before it.
        title: as people read it.
        compute: its value where neither mask is empty.
        empty: what it gives where prediction or reference are empty, for people.
        both_empty: its value where both masks are empty.
        one_empty: its value where one mask is empty, or how to compute that.
        create: makes MONAI's class, which a bundle's YAML names: masks 0/1 (B, C, H, W) to (B, C).
        higher_is_better: whether 1 is better than 0.
        unit: e.g. ``mm``; empty where it has none.
        needs_spacing: whether it has to know how large pixels are.
        without_spacing: whether it is for images alone of which the size of pixels is not known.
        of_counts: whether it needs the counts of a case alone, so that those of a volume's slices can be added.
        source: DOI of what defines it.
    """

    name: str
    title: str
    compute: Callable[[Case], float]
    empty: str
    both_empty: float = 1.0
    one_empty: float | Callable[[Case], float] = 0.0
    create: Callable[[], CumulativeIterationMetric] | None = None
    higher_is_better: bool = True
    unit: str = ""
    needs_spacing: bool = False
    without_spacing: bool = False
    of_counts: bool = False
    source: str = ""

    def score(self, case: Case) -> float | None:
        """The metric of a case, always finite; ``None`` where it does not apply, as mm without a spacing."""
        if (self.needs_spacing and case.spacing is None) or (self.without_spacing and case.spacing is not None):
            return None
        if all(case.empty):
            return self.both_empty
        if any(case.empty):
            return float(self.one_empty(case) if callable(self.one_empty) else self.one_empty)
        return float(self.compute(case))
