"""Charts, each drawn twice from one description: into a page, in its colours, and as a PNG that goes into a paper."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..core.files import replacing

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7F87", "#8C5A2B")
"""Colours that colour-blind people, too, can distinguish. Wong B. Nat Methods 2011, https://doi.org/10.1038/nmeth.1618"""

_INK = "#123456"  # is replaced by the colour of the page's text
_DPI = 300
_TITLE = 0.3  # inches
_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Chart:
    """A chart that can be drawn more than once.

    Attributes:
        name: of its file, without suffix.
        title: above it.
        summary: what it shows, for those who cannot see it.
        draw: draws it on empty axes.
        size: width and height in inches, without the title.
        margins: left, right, bottom and top of the axes, in inches.
        note: what stands beside the title, as the number of images.
    """

    name: str
    title: str
    summary: str
    draw: Callable[[Axes], None]
    size: tuple[float, float] = (3.5, 2.4)
    margins: tuple[float, float, float, float] = (0.55, 0.12, 0.42, 0.08)
    note: str = ""


def as_svg(chart: Chart) -> Markup:
    """The chart as inline SVG whose lines and letters have the colour of the page around it."""
    with _style(_INK, {"svg.fonttype": "none", "svg.hashsalt": chart.name + chart.title}):
        buffer = io.StringIO()
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        _drawn([chart], 1, 0).savefig(buffer, format="svg", transparent=True, metadata=empty, dpi=_DPI / 2)
    svg = buffer.getvalue()
    svg = re.sub(r'(?<=<g) id="[^"]*"', "", svg[svg.index("<svg") :]).replace(_INK, "currentColor")
    opening = Markup('<svg role="img" aria-label="{}" ').format(chart.summary)
    return opening + Markup(svg.removeprefix("<svg "))


def save_png(path: Path, charts: Sequence[Chart], across: int = 1) -> Path:
    """Write charts of one size as one picture, 300 dots an inch, black on white, each below its title.

    Args:
        path: of the PNG.
        charts: its panels.
        across: panels in a row.
    """
    with _style("black"), replacing(path) as temporary:
        _drawn(charts, across, _TITLE).savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})
    return path


def _drawn(charts: Sequence[Chart], across: int, title: float) -> Figure:
    """The charts on a grid of panels, each as large as the first one and as high as its title more."""
    (width, height), (left, right, bottom, top) = charts[0].size, charts[0].margins
    panel = height + title
    whole = (width * across, panel * ceil(len(charts) / across))
    figure = Figure(whole)
    for index, chart in enumerate(charts):
        row, column = divmod(index, across)
        x, y = column * width + left, whole[1] - (row + 1) * panel + bottom
        wide, high = width - left - right, height - bottom - top
        axes = figure.add_axes((x / whole[0], y / whole[1], wide / whole[0], high / whole[1]))
        chart.draw(axes)
        if title:
            words = f"{chart.title} ({chart.note.replace(' ', _SPACE)})" if chart.note else chart.title
            axes.set_title(fill(words, int(15 * (width - left))))
    return figure


@contextmanager
def _style(ink: str, more: dict[str, Any] | None = None) -> Iterator[None]:
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    settings: Any = {
        **{"font.size": 8, "axes.titlesize": 8, "legend.frameon": False, "grid.alpha": 0.15},
        **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True},
        **dict.fromkeys(inked, ink),
        **(more or {}),
    }
    with mpl.rc_context(settings):
        yield
