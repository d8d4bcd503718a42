"""Confusion matrices of pixels and of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .charted import Charted
from .figures import PALETTE, Chart
from .values import DASH

Floats = NDArray[np.float64]

_RIGHT, _WRONG = PALETTE[:2]
_SIDES = {"pixels": ("foreground", "background"), "images": ("something", "nothing")}
_CELLS = {
    "pixels": (("true_positive", "false_negative"), ("false_positive", "true_negative")),
    "images": (("found", "missed"), ("false_alarm", "rightly_empty")),
}


def confusions(one: Charted) -> list[Chart]:
    """The confusion matrices that ``metrics.json`` has the counts of: a row is of the reference."""
    return [_confusion(one, kind) for kind in _CELLS if one.scores.get(kind)]


def _confusion(one: Charted, kind: str) -> Chart:
    counts = {cell: int(one.scores[kind][cell]) for line in _CELLS[kind] for cell in line}
    title = one.titled(f"Confusion of {kind}")
    words = ", ".join(f"{cell.replace('_', ' ')} {count:,}" for cell, count in counts.items())
    table = np.array([*counts.values()], np.float64).reshape(2, 2)
    draw = partial(_draw, table, [cell.replace("_", " ") for cell in counts], kind)
    return Chart(f"confusion_{kind}{one.suffix}", title, f"{title}: {words}", draw, (2.6, 2))


def _draw(counts: Floats, words: Sequence[str], kind: str, axes: Axes) -> None:
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    for index, (row, column) in enumerate(np.ndindex(2, 2)):
        share, count = float(shares[row, column]), float(counts[row, column])
        colour = _RIGHT if row == column else _WRONG
        tile = Rectangle(
            (column - 0.48, row - 0.47), 0.96, 0.94, facecolor=colour, alpha=0.08 + 0.45 * share, linewidth=0
        )
        axes.add_patch(tile)
        part = f"{100 * share:.1f} %" if totals[row] else DASH
        axes.text(column, row, f"{words[index]}\n{_short(count)}\n{part}", ha="center", va="center")
    axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), xlabel=f"prediction ({kind})", ylabel="reference")
    axes.set_xticks([0, 1], _SIDES[kind])
    axes.set_yticks([0, 1], _SIDES[kind], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _short(count: float) -> str:
    """A count in few letters: ``12,345``, ``1.23 million``."""
    for size, word in ((1e9, "thousand million"), (1e6, "million")):
        if count >= size:
            return f"{count / size:.3g} {word}"
    return f"{count:,.0f}"
