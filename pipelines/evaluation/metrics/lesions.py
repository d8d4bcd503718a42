"""How many lesions were found: components that touch at sides or corners, found where the IoU is above 0.5."""

from __future__ import annotations

from ..case import Case
from .base import Metric
from .dice import EMPTY

_SOURCE = "10.1109/CVPR.2019.00963"


def _precision(case: Case) -> float:
    return case.lesions.matched / case.lesions.predicted


def _recall(case: Case) -> float:
    return case.lesions.matched / case.lesions.reference


def _f1(case: Case) -> float:
    reference, predicted, matched = case.lesions
    return 2 * matched / (reference + predicted)


LESIONS = (
    Metric("lesion_precision", "Precision of lesions", _precision, EMPTY, source=_SOURCE),
    Metric("lesion_recall", "Recall of lesions", _recall, EMPTY, source=_SOURCE),
    Metric("lesion_f1", "F1 of lesions", _f1, EMPTY, source=_SOURCE),
)
