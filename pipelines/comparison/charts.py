"""A chart of what two networks differ by, image by image."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .verdicts import metric_of, noun

_INK = "#123456"  # is replaced by the colour of the page's text
_A, _B = "#d9722e", "#2f7fd6"


def difference_chart(pair: Mapping[str, Any]) -> dict[str, Any]:
    """The differences of all images in their order as inline SVG: orange where A is better, blue where B is.

    Args:
        pair: a comparison, with ``per_image``.
    """
    values = np.sort(pair["per_image"][np.isfinite(pair["per_image"])])
    metric, _ = metric_of(pair["metric"])
    colours = (_A, _B) if metric is None or metric.higher_is_better else (_B, _A)
    title = f"{pair['a']} and {pair['b']}: {noun(pair['metric'])}"
    summary = f"{title}: {pair['a_better']} images better in A, {pair['b_better']} in B, {pair['ties']} equal"
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 8}):
        figure = Figure(figsize=(4, 2.8), layout="constrained")
        axes = figure.add_subplot()
        at = np.arange(len(values) + 1)
        steps = np.append(values, values[-1:])
        for part, colour in zip((np.minimum(steps, 0), np.maximum(steps, 0)), colours, strict=True):
            axes.fill_between(at, part, step="post", color=colour, linewidth=0)
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.set_xlabel("images, in the order of the difference", color=_INK)
        axes.set_ylabel("B minus A" + (f", {metric.unit}" if metric and metric.unit else ""), color=_INK)
        axes.tick_params(colors=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=_INK, alpha=0.15)
        axes.spines[:].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    svg = buffer.getvalue()
    svg = re.sub(r'(?<=<g) id="[^"]*"', "", svg[svg.index("<svg") :]).replace(_INK, "currentColor")
    opening = Markup('<svg role="img" aria-label="{}" ').format(summary)
    return {"title": title, "summary": summary, "svg": opening + Markup(svg.removeprefix("<svg "))}
