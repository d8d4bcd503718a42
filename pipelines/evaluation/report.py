"""One self-contained HTML page about a run: scores, training curves, pictures of what the network drew."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jinja2
import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from ..imaging.overlay import CYAN, YELLOW, draw_outline
from ..imaging.structures import Structure, colours_of
from .metrics import METRICS, title_of

Bytes = NDArray[np.uint8]
Rank = Literal["worst", "median", "best"]

_THUMBNAIL = 320  # pixels, the longer side
_INK = "#123456"  # is replaced by the colour of the page's text
_HUES = ("#2f7fd6", "#d9722e", "#2a9d57", "#b04fc4", "#9a7a12", "#c43f4a", "#1398a8", "#7a7f87")


@dataclass(frozen=True)
class Picture:
    """An image and what was drawn on it.

    Attributes:
        name: shown above the picture, e.g. the file's name.
        image: (H, W, 3) or (H, W, 1), 0..255.
        prediction: (H, W), 0/1, or (S, H, W) of several structures.
        reference: the same, where there is one; 255 where a structure is not annotated.
        dice: of prediction and reference, 0..1.
        structures: those of the masks, where there are several.
    """

    name: str
    image: Bytes
    prediction: Bytes
    reference: Bytes | None = None
    dice: float | None = None
    structures: Sequence[Structure] = ()


def pick_examples(scores: Sequence[float | None], each: int = 2) -> list[tuple[int, Rank]]:
    """Choose which images to show: the worst, the median and the best, each image once.

    Picking from what was picked picks the same. An image without a score counts as the worst.

    Args:
        scores: one for each image, higher is better.
        each: how many of each rank.

    Returns:
        (index, rank) from the lowest score to the highest, at most ``3 * each``.
    """
    known = [-math.inf if score is None else score for score in scores]
    order = sorted(range(len(known)), key=known.__getitem__)
    low, high = min(each, len(order)), max(min(each, len(order)), len(order) - each)
    first = max(low, (len(order) - each) // 2)
    parts: dict[Rank, list[int]] = {
        "worst": order[:low],
        "median": order[first : min(first + each, high)],
        "best": order[high:],
    }
    return [(index, rank) for rank, indices in parts.items() for index in indices]


def write_report(
    path: Path,
    *,
    title: str,
    metrics: Mapping[str, Any],
    history_csv: Path | None = None,
    pictures: Sequence[Picture] = (),
    segmented: Sequence[Picture] = (),
    commands: Sequence[str] = (),
    date: datetime | None = None,
) -> Path:
    """Write one HTML page that needs nothing beside it: styles, curves and pictures are inside, no script.

    Args:
        path: of the page; its folder is made if missing.
        title: plain text, like every other text here.
        metrics: what ``metrics.json`` holds.
        history_csv: the training's curves, one row an epoch; scores of validation may be empty.
        pictures: judged images; two worst, two median and two best of them by Dice are shown.
        segmented: images without reference, all shown.
        commands: command lines that led here.
        date: of the run, now by default.

    Returns:
        ``path``.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    ranked = pick_examples([picture.dice for picture in pictures])
    page = environment.get_template("report.html").render(
        title=title,
        date=(date or datetime.now().astimezone()).strftime("%d %B %Y, %H:%M %Z").rstrip(" ,"),
        count=metrics.get("count", len(pictures)),
        scores=_scores(metrics),
        legend=_legend([*pictures, *segmented]),
        curves=_curves(history_csv) if history_csv else [],
        judged=[_figure(pictures[index], rank) for index, rank in ranked],
        segmented=[_figure(picture) for picture in segmented],
        commands=list(commands),
        notes=_notes(metrics),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _scores(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The rows of the table: each metric and, where there are several structures, those of each below."""
    names = [name for name, score in metrics.items() if name in METRICS or _is_score(score)]
    parts = metrics.get("structures", {})
    return [
        row
        for name in names
        for row in (
            _score(title_of(name) + (", mean over structures" if parts else ""), metrics[name]),
            *(_score(structure, part[name]) | {"part": "part"} for structure, part in parts.items() if name in part),
        )
    ]


def _is_score(value: Any) -> bool:
    return isinstance(value, Mapping) and "ci95" in value


def _score(name: str, score: Any) -> dict[str, str]:
    """A row of the table, from a number or from a value with its interval."""
    value, interval = (score.get("value"), score.get("ci95")) if isinstance(score, Mapping) else (score, None)
    span = " to ".join(_decimals(bound) for bound in interval) if interval else "-"
    return {"name": name, "value": _decimals(value), "interval": span, "part": ""}


def _legend(pictures: Sequence[Picture]) -> list[dict[str, str]]:
    """The structures in the pictures with the colours of their outlines; nothing where there is one."""
    structures = {one.name: one for picture in pictures for one in picture.structures}.values()
    colours = (f"rgb{colour}" for colour in colours_of([*structures]))
    found = [{"name": one.name, "colour": colour} for one, colour in zip(structures, colours, strict=True)]
    return found if len(found) > 1 else []


def _decimals(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    """What the figures rest on: versions, data, commit."""
    versions = ", ".join(f"{name} {version}" for name, version in metrics.get("versions", {}).items())
    notes = {"Versions": versions, "Data": metrics.get("data_hash"), "Commit": metrics.get("commit")}
    return [f"{name}: {value}" for name, value in notes.items() if value]


def _curves(history_csv: Path) -> list[dict[str, str]]:
    """A chart for each group of columns that holds a number."""
    with history_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    charts = []
    for title, columns in _groups([name for name in rows[0] if name] if rows else []).items():
        lines = {label: _points(rows, column) for column, label in columns.items()}
        lines = {label: points for label, points in lines.items() if points}
        if lines:
            charts.append({"title": title, "svg": _chart(title, lines)})
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
        "Validation": {f"val_{name}": metric.title for name, metric in METRICS.items()},
        **structures,
        "Learning rate": {"learning_rate": "learning rate"},
    }


def _points(rows: Sequence[Mapping[str, str | None]], column: str) -> list[tuple[float, float]]:
    """(epoch, value) of the rows that have both; a row cut short by a kill has not."""
    points = []
    for row in rows:
        try:
            points.append((float(row.get("epoch") or ""), float(row.get(column) or "")))
        except ValueError:
            continue
    return points


def _chart(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> Markup:
    """Lines over epochs as inline SVG, in the colours of the page around it."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 9}):
        figure = Figure(figsize=(4, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for (label, points), hue in zip(lines.items(), _HUES, strict=False):
            axes.plot(*zip(*points, strict=True), color=hue, label=label, marker="." if len(points) < 30 else None)
        axes.set_xlabel("epoch", color=_INK)
        axes.tick_params(colors=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=_INK, alpha=0.15)
        axes.spines[:].set_visible(False)
        if len(lines) > 1:
            axes.legend(frameon=False, labelcolor=_INK)
        buffer = io.StringIO()
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    svg = buffer.getvalue()
    svg = re.sub(r'(?<=<g) id="[^"]*"', "", svg[svg.index("<svg") :]).replace(_INK, "currentColor")
    ends = ", ".join(f"{label} {points[-1][1]:.3g}" for label, points in lines.items())
    opening = Markup('<svg role="img" aria-label="{}" ').format(f"{title} by epoch, at the end: {ends}")
    return opening + Markup(svg.removeprefix("<svg "))


def _figure(picture: Picture, rank: Rank | None = None) -> dict[str, Any]:
    """A picture with its views side by side: the image, then its outlines in the reference and in the prediction."""
    image = _shrink(picture.image)
    views = [_view("image", image, picture.name)]
    for kind, masks, colour in (("reference", picture.reference, CYAN), ("prediction", picture.prediction, YELLOW)):
        if masks is not None:
            colours = colours_of(picture.structures) if len(picture.structures) > 1 else [colour]
            planes = masks.reshape(-1, *masks.shape[-2:])
            outlined = image
            for plane, each in zip(planes, colours, strict=True):
                small = (_shrink((plane == 1) * np.uint8(255))[..., 0] > 127).astype(np.uint8)
                outlined = draw_outline(outlined, small, each, 2)
            what = "outline" if len(planes) == 1 else "outlines"
            views.append(_view(kind, outlined, f"{picture.name} with the {what} of the {kind}"))
    return {"name": picture.name, "dice": _decimals(picture.dice), "rank": rank, "views": views}


def _view(kind: str, image: Bytes, alt: str) -> dict[str, str | int]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=85)
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"kind": kind, "uri": uri, "alt": alt, "width": image.shape[1], "height": image.shape[0]}


def _shrink(image: Bytes) -> Bytes:
    """The image, (H, W), (H, W, 1) or (H, W, 3), as a thumbnail (h, w, 3)."""
    thumbnail = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).convert("RGB")
    thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(thumbnail)
