"""The metrics that reports know, a module for each family; a new one is an entry in `METRICS`.

A bundle may score with any other metric of MONAI, too: it becomes a column, under the name that it has in the YAML.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..case import Case
from .area import AREA_ERROR
from .base import Metric
from .detection import PRECISION, RECALL, SPECIFICITY
from .dice import DICE
from .iou import IOU
from .lesions import LESIONS
from .pixel_accuracy import PIXEL_ACCURACY
from .surface_dice import NSD
from .surface_distance import HD95, MSD

__all__ = ["METRICS", "Metric", "empty_policy", "measure", "title_of"]

_OVERLAP = (DICE, IOU, PRECISION, RECALL, SPECIFICITY, PIXEL_ACCURACY)
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_OVERLAP, *HD95, *MSD, *NSD, AREA_ERROR, *LESIONS)}


def measure(case: Case) -> dict[str, float | None]:
    """Every metric of a case; ``None`` for those that do not apply, as mm where no spacing is known."""
    return {name: metric.score(case) for name, metric in METRICS.items()}


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
