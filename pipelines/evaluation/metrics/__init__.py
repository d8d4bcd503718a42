"""The metrics that reports know, one module each; a new one is a module and a line in `METRICS`.

A bundle may score with any other metric of MONAI, too: it becomes a column, under the name that it has in the YAML.
"""

from __future__ import annotations

from collections.abc import Iterable

from .base import Metric
from .dice import DICE
from .iou import IOU
from .pixel_accuracy import PIXEL_ACCURACY

__all__ = ["METRICS", "Metric", "empty_policy", "title_of"]

METRICS: dict[str, Metric] = {metric.name: metric for metric in (DICE, IOU, PIXEL_ACCURACY)}


def title_of(name: str) -> str:
    """A metric's title with its unit, for people; of one that is not known here, its name."""
    metric = METRICS.get(name)
    return name if metric is None else metric.title + (f", {metric.unit}" if metric.unit else "")


def empty_policy(names: Iterable[str]) -> str:
    """What empty masks get, in one line: of each of the metrics, those alike together."""
    policies: dict[str, list[str]] = {}
    for name in names:
        text = METRICS[name].empty if name in METRICS else "as its documentation says"
        policies.setdefault(text, []).append(name)
    if len(policies) == 1:
        return next(iter(policies))
    return "; ".join(f"{', '.join(alike)}: {text.replace('; ', ', ')}" for text, alike in policies.items())
