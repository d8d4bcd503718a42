"""The learning curves of a run, from the ``history.csv`` that its training wrote."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .figures import PALETTE, Chart
from .metrics import METRICS, title_of

Points = Sequence[tuple[float, float]]


def learning_curves(history_csv: Path) -> list[Chart]:
    """A chart for each group of columns that holds a number.

    Args:
        history_csv: one row an epoch; scores of validation may be empty, the last row may be cut short.
    """
    with history_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    charts = []
    for title, columns in _groups([name for name in rows[0] if name] if rows else []).items():
        lines = {label: points for column, label in columns.items() if (points := _points(rows, column))}
        if lines:
            charts.append(_chart(title, lines))
    return charts


def _groups(columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """The charts of a history: their titles, their columns and what these are called."""
    structures = {
        f"Validation: {metric.title} of each structure": {
            column: column.removeprefix(f"val_{name}_").replace("_", " ")
            for column in columns
            if column.startswith(f"val_{name}_")
        }
        for name, metric in METRICS.items()
    }
    return {
        "Training loss": {"loss": "loss"},
        "Validation": {f"val_{name}": title_of(name) for name in METRICS},
        **structures,
        "Learning rate": {"learning_rate": "learning rate"},
    }


def _points(rows: Sequence[Mapping[str, str | None]], column: str) -> Points:
    """(epoch, value) of the rows that have both; a row cut short by a kill has not."""
    points = []
    for row in rows:
        try:
            points.append((float(row.get("epoch") or ""), float(row.get(column) or "")))
        except ValueError:
            continue
    return points


def _chart(title: str, lines: Mapping[str, Points]) -> Chart:
    ends = ", ".join(f"{label} {points[-1][1]:.3g}" for label, points in lines.items())
    name = "learning_" + title.lower().replace(":", "").replace(" ", "_")
    return Chart(name, title, f"{title} by epoch, at the end: {ends}", partial(_draw, lines), (2.6, 1.9))


def _draw(lines: Mapping[str, Points], axes: Axes) -> None:
    for index, (label, points) in enumerate(lines.items()):
        marker = "." if len(points) < 30 else None
        axes.plot(*zip(*points, strict=True), color=PALETTE[index % len(PALETTE)], label=label, marker=marker)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()
    if len(lines) > 1:
        axes.legend()
    else:
        axes.set_ylabel(next(iter(lines)))
