"""Dice, which is the F1 score of the pixels by another name: how much of both masks is in their overlap."""

from __future__ import annotations

from functools import partial

from monai.metrics import DiceMetric

from ..case import Case
from .base import Metric

EMPTY = "an empty prediction of an empty reference scores 1, any other prediction of it 0; no image is left out"


def _dice(case: Case) -> float:
    both, false_positive, false_negative, _ = case.counts
    return 2 * both / (2 * both + false_positive + false_negative)


DICE = Metric(
    "mean_dice",
    "Mean Dice",
    _dice,
    EMPTY,
    create=partial(DiceMetric, ignore_empty=False),
    of_counts=True,
    source="10.2307/1932409",
)
