"""How far the predicted area (volume) is from the reference's, whichever is larger."""

from __future__ import annotations

from ..case import Case
from .base import Metric


def _area_error(case: Case) -> float:
    both, false_positive, false_negative, _ = case.counts
    return abs(false_positive - false_negative) / (both + false_negative)


AREA_ERROR = Metric(
    "area_error",
    "Relative area error",
    _area_error,
    "0 where both masks are empty, 1 where one is; no image is left out",
    both_empty=0.0,
    one_empty=1.0,
    higher_is_better=False,
    of_counts=True,
    source="10.1109/TMI.2009.2013851",
)
