"""The charts of an evaluation: distributions, Dice against size, precision against recall."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from .charted import Charted
from .figures import PALETTE, Chart
from .metrics import METRICS, title_of
from .tables import better
from .values import column_of, known, number

Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]

_BLUE, _ORANGE, _GREEN, _GREY = (PALETTE[index] for index in (0, 1, 2, 6))
_RASTER = 500  # points from which on they are drawn as one picture: a page would else grow with each
_BINS = 20
_QUINTILES = 5
_NARROW = 0.01  # of the axis: so narrow a box is not seen, and its median is drawn in its colour instead


def distributions(names: Iterable[str], charted: Sequence[Charted]) -> list[Chart]:
    """For each metric how its values are spread over images: a histogram, or of several structures a box each."""
    charts = []
    for name in names:
        tables = {one.name: known(one.values(name)) for one in charted}
        if any(map(len, tables.values())):
            charts.append(_distribution(name, tables, charted))
    return charts


def _distribution(name: str, tables: Mapping[str, Floats], charted: Sequence[Charted]) -> Chart:
    title, counts = METRICS[name].title if name in METRICS else name, sorted(len(values) for values in tables.values())
    medians = ", ".join(f"{part} {np.median(values):.3g}".strip() for part, values in tables.items() if len(values))
    n = f"n = {counts[0]}" if counts[0] == counts[-1] else f"n = {counts[0]} to {counts[-1]}"
    summary, label = f"{title_of(name)}, {n}: median {medians}", ", ".join(filter(None, (_unit(name), better(name))))
    if len(charted) == 1:
        bars = partial(_draw_histogram, label, tables[charted[0].name])
        return Chart(f"distribution_{name}", title, summary, bars, (2.6, 1.75), (0.52, 0.12, 0.42, 0.08), n)
    boxes = partial(_draw_boxes, label, tables, [one.colour for one in charted])
    size, names = (2.6, 0.7 + 0.24 * len(tables)), 0.2 + 0.065 * max(map(len, tables))
    return Chart(f"distribution_{name}", title, summary, boxes, size, (names, 0.12, 0.42, 0.08), n)


def _unit(name: str) -> str:
    return METRICS[name].unit if name in METRICS else ""


def _draw_histogram(label: str, values: Floats, axes: Axes) -> None:
    counts, *_ = axes.hist(values, bins=_BINS, range=_limits(values), color=_BLUE)
    above = float(np.max(counts)) * 1.15
    axes.set(xlabel=label, ylabel="images", ylim=(0, above * 1.1), xlim=_limits(values))
    _boxes(axes, [values], [_ORANGE], [above], above / 12)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y")


def _draw_boxes(label: str, tables: Mapping[str, Floats], colours: Sequence[str], axes: Axes) -> None:
    places = range(len(tables))
    axes.set(xlabel=label, ylim=(len(tables) - 0.4, -0.6), xlim=_limits(np.concatenate(list(tables.values()))))
    _boxes(axes, list(tables.values()), colours, places, 0.6)
    axes.set_yticks(places, list(tables))
    axes.grid(axis="x")


def _boxes(
    axes: Axes, tables: Sequence[Floats], colours: Sequence[str], places: Sequence[float], height: float
) -> None:
    """Boxes from quartile to quartile, whiskers from the 5th to the 95th percentile, a line at the median."""
    boxes = axes.boxplot(
        [*tables],
        positions=places,
        widths=height,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
    )
    for box, median, values, colour in zip(boxes["boxes"], boxes["medians"], tables, colours, strict=True):
        box.set(facecolor=colour, alpha=0.75, linewidth=0)
        low, high = np.quantile(values, (0.25, 0.75)) if len(values) else (0, 0)
        narrow = high - low < _NARROW * np.diff(axes.get_xlim())[0]
        median.set(color=colour if narrow else "white", linewidth=3 if narrow else 1.5, clip_on=not narrow)
    for line in (*boxes["whiskers"], *boxes["caps"]):
        line.set(color=_GREY, linewidth=1)


def _limits(values: Floats) -> tuple[float, float]:
    """The range of an axis: 0 to 1 for shares, else from 0 to the greatest."""
    greatest = float(values.max())
    return 0.0, 1.0 if greatest <= 1 else greatest * 1.02


def dice_by_size(one: Charted) -> Chart | None:
    """Dice of each image against the share of it that the reference covers."""
    sizes, dices, pixels = (
        column_of(values)
        for values in (
            one.values("reference_pixels"),
            one.values("mean_dice"),
            [number(row.get("pixels")) for row in one.rows],
        )
    )
    there = np.isfinite(sizes) & np.isfinite(dices) & np.isfinite(pixels) & (sizes > 0)
    if not there.any():
        return None
    share, dice = 100 * sizes[there] / pixels[there], dices[there]
    title = one.titled("Dice against size")
    summary = f"{title}: n = {len(dice)}, with {share.min():.2g} to {share.max():.2g} % of the image covered"
    return Chart(f"dice_by_size{one.suffix}", title, summary, partial(_draw_sizes, share, dice, one.name), (3.5, 2.6))


def _draw_sizes(share: Floats, dice: Floats, name: str, axes: Axes) -> None:
    missed = dice == 0
    raster = len(share) >= _RASTER
    axes.scatter(share[~missed], dice[~missed], 9, _BLUE, alpha=0.7, linewidths=0, rasterized=raster)
    if missed.any():
        axes.scatter(share[missed], dice[missed], 14, _ORANGE, marker="x", label="Dice 0", clip_on=False)
    if len(share) >= _QUINTILES * 5:
        parts = np.array_split(np.argsort(share, kind="stable"), _QUINTILES)
        middles = [[np.median(values[part]) for part in parts] for values in (share, dice)]
        axes.plot(*middles, color=_GREEN, marker="o", markersize=4, label="median of each fifth")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower right")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(ylim=(-0.02, 1.02), ylabel="Dice", xlabel=f"{name or 'reference'}, % of the image (logarithmic)")
    axes.grid()


def precision_recall(charted: Sequence[Charted]) -> Chart | None:
    """Precision against recall of all pixels for each threshold, with a dot where the masks were cut."""
    lines = {one.name: (one, *_curve(one.scores)) for one in charted}
    lines = {name: line for name, line in lines.items() if len(line[1])}
    if not lines:
        return None
    used = {name: point for name, (one, *_) in lines.items() if (point := _used(one.scores))}
    points = ", ".join(
        f"{name} precision {precision:.3f} at recall {recall:.3f}".strip() for name, (recall, precision) in used.items()
    )
    title = "Precision against recall"
    draw: Callable[[Axes], None] = partial(_draw_curves, lines, used)
    return Chart("precision_recall", title, f"{title} over thresholds; at the one used {points}", draw, (3.5, 2.8))


def _curve(scores: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Recall and precision of all thresholds at which both are defined."""
    curve = scores.get("curve") or {}
    recall, precision = (column_of(map(number, curve.get(key) or ())) for key in ("recall", "precision"))
    if len(recall) != len(precision):
        return np.empty(0), np.empty(0)
    there = np.isfinite(recall) & np.isfinite(precision)
    return recall[there], precision[there]


def _used(scores: Mapping[str, Any]) -> tuple[float, float] | None:
    """Recall and precision of the masks themselves."""
    pixels = scores.get("pixels") or {}
    hit, false, missed = (pixels.get(key) for key in ("true_positive", "false_positive", "false_negative"))
    if not hit or false is None or missed is None:
        return None
    return hit / (hit + missed), hit / (hit + false)


def _draw_curves(
    lines: Mapping[str, tuple[Charted, Floats, Floats]], used: Mapping[str, tuple[float, float]], axes: Axes
) -> None:
    for name, (one, recall, precision) in lines.items():
        axes.plot(recall, precision, color=one.colour, label=name or None)
        if name in used:
            label = "threshold used" if name == list(used)[-1] else None
            axes.plot(*used[name], "o", color=_ORANGE if len(lines) == 1 else one.colour, label=label, clip_on=False)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall (sensitivity)", ylabel="precision")
    axes.grid()
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower left")
