"""Which scores stand first, on the terminal, in texts and on pages alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .metrics import METRICS
from .values import is_score, score_of

_MAIN = ("mean_dice", "mean_iou", "hd95", "nsd")
_UNITS = {
    "hd95": ("hd95_mm", "hd95_pixels", "hd95_percent"),
    "msd": ("msd_mm", "msd_pixels", "msd_percent"),
    "nsd": ("nsd_mm", "nsd_2_percent"),
}
"""Of what is measured in several, the best one first."""


def headline(metrics: Mapping[str, Any]) -> list[str]:
    """The few scores that are shown first, and a bundle's own."""
    return [*main_metrics(metrics), *(name for name, one in metrics.items() if name not in METRICS and is_score(one))]


def main_metrics(metrics: Mapping[str, Any], wanted: Sequence[str] = _MAIN) -> list[str]:
    """Those of the wanted metrics that have a value; what has several units, in the best that most images have."""
    chosen = [max(_UNITS.get(name, (name,)), key=lambda one: _count(metrics.get(one))) for name in wanted]
    return [name for name in chosen if score_of(metrics.get(name)).get("value") is not None]


def _count(entry: Any) -> int:
    score = score_of(entry)
    return 0 if score.get("value") is None else int(score.get("count", 1))
