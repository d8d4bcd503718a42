"""A chart of what two networks differ by, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..evaluation.figures import PALETTE, Chart
from .verdicts import metric_of, noun

_B, _A = PALETTE[:2]
_MARGINS = (0.8, 0.12, 0.42, 0.08)  # inches; at the left for ticks such as -0.0010 and the label


def difference_chart(pair: Mapping[str, Any]) -> Chart:
    """The differences of all images in their order: orange where A is better, blue where B is.

    Args:
        pair: a comparison, with ``per_image``, (N,), NaN where one of both has no value.
    """
    values = np.sort(pair["per_image"][np.isfinite(pair["per_image"])])
    metric, _ = metric_of(pair["metric"])
    colours = (_A, _B) if metric is None or metric.higher_is_better else (_B, _A)
    title = f"{pair['a']} and {pair['b']}: {noun(pair['metric'])}"
    summary = f"{title}: {pair['a_better']} images better in A, {pair['b_better']} in B, {pair['ties']} equal"
    label = "B minus A" + (f", {metric.unit}" if metric and metric.unit else "")
    name = f"difference_{pair['a']}_{pair['b']}_{pair['metric']}"
    return Chart(name, title, summary, partial(_draw, values, colours, label), (4, 2.8), _MARGINS)


def _draw(values: NDArray[np.float64], colours: tuple[str, str], label: str, axes: Axes) -> None:
    at, steps = np.arange(len(values) + 1), np.append(values, values[-1:])
    for part, colour in zip((np.minimum(steps, 0), np.maximum(steps, 0)), colours, strict=True):
        axes.fill_between(at, part, step="post", color=colour, linewidth=0)
    axes.axhline(0, color=axes.xaxis.label.get_color(), linewidth=0.8)
    axes.set(xlabel="images, in the order of the difference", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()
