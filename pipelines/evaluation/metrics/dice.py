"""Dice: how much of both masks is in their overlap."""

from __future__ import annotations

from functools import partial

from monai.metrics import DiceMetric

from .base import Metric

EMPTY = "an empty prediction of an empty reference scores 1, any other prediction of it 0; no image is left out"
DICE = Metric("mean_dice", "Mean Dice", EMPTY, partial(DiceMetric, ignore_empty=False))
