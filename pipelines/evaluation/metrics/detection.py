"""Precision, recall (sensitivity) and specificity of the pixels."""

from __future__ import annotations

from ..case import Case
from .base import Metric
from .dice import EMPTY

_SOURCE = "10.1186/s12880-015-0068-x"


def _precision(case: Case) -> float:
    both, false_positive, _, _ = case.counts
    return both / (both + false_positive)


def _recall(case: Case) -> float:
    both, _, false_negative, _ = case.counts
    return both / (both + false_negative)


def _specificity(case: Case) -> float:
    """The share of the reference's background that the prediction left alone; 1 where it has no background."""
    _, false_positive, _, true_negative = case.counts
    background = false_positive + true_negative
    return true_negative / background if background else 1.0


PRECISION = Metric("precision", "Precision", _precision, EMPTY, of_counts=True, source=_SOURCE)
RECALL = Metric("recall", "Recall (sensitivity)", _recall, EMPTY, of_counts=True, source=_SOURCE)
SPECIFICITY = Metric(
    "specificity",
    "Specificity",
    _specificity,
    "empty masks count like all others, a reference without background scores 1; no image is left out",
    one_empty=_specificity,
    of_counts=True,
    source=_SOURCE,
)
