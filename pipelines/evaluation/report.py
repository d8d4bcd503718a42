"""One self-contained HTML page about a run: scores, learning curves, pictures of what the network drew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ..core.pages import render_page
from ..imaging.structures import Structure, colours_of
from .figures import as_svg
from .learning import learning_curves
from .metrics import METRICS
from .pictures import Bytes, Picture, as_jpeg, outlined_views
from .tables import score_table
from .values import is_score, shown

Rank = Literal["worst", "median", "best"]


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
    cases: Sequence[Bytes] = (),
    facts: Sequence[str] = (),
    commands: Sequence[str] = (),
    structures: Sequence[Structure] = (),
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
        cases: of validation, as `draw_errors` gives them.
        facts: sentences that stand first.
        commands: command lines that led here.
        structures: whose outlines the pictures have, where no picture says so.
        date: of the run, now by default.

    Returns:
        ``path``.
    """
    ranked = pick_examples([picture.dice for picture in pictures])
    names = [name for name, score in metrics.items() if name in METRICS or is_score(score)]
    curves = learning_curves(history_csv) if history_csv else []
    values = {
        "title": title,
        "date": (date or datetime.now().astimezone()).strftime("%d %B %Y, %H:%M %Z").rstrip(" ,"),
        "count": metrics.get("count", len(pictures)),
        "scores": score_table(metrics, names),
        "legend": _legend([*pictures, *segmented]) or (legend_of(structures) if len(structures) > 1 else []),
        "curves": [{"title": one.title, "svg": as_svg(one)} for one in curves],
        "judged": [_figure(pictures[index], rank) for index, rank in ranked],
        "segmented": [_figure(picture) for picture in segmented],
        "cases": [{"uri": as_jpeg(one), "width": one.shape[1], "height": one.shape[0]} for one in cases],
        "facts": list(facts),
        "commands": list(commands),
        "notes": _notes(metrics),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_page("report.html.jinja", values), encoding="utf-8")
    return path


def legend_of(structures: Sequence[Structure]) -> list[dict[str, str]]:
    """The structures with the colours of their outlines."""
    colours = (f"rgb{colour}" for colour in colours_of(structures))
    return [{"name": one.name, "colour": colour} for one, colour in zip(structures, colours, strict=True)]


def _legend(pictures: Sequence[Picture]) -> list[dict[str, str]]:
    """The structures in the pictures with the colours of their outlines; nothing where there is one."""
    structures = {one.name: one for picture in pictures for one in picture.structures}.values()
    return legend_of([*structures]) if len(structures) > 1 else []


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    """What the figures rest on: versions, data, commit."""
    versions = ", ".join(f"{name} {version}" for name, version in metrics.get("versions", {}).items())
    notes = {"Versions": versions, "Data": metrics.get("data_hash"), "Commit": metrics.get("commit")}
    return [f"{name}: {value}" for name, value in notes.items() if value]


def _figure(picture: Picture, rank: Rank | None = None) -> dict[str, Any]:
    """A picture with its views side by side: the image, then its outlines in the reference and in the prediction."""
    several = picture.prediction.ndim == 3 and len(picture.prediction) > 1
    lines = "outlines" if several else "outline"
    views = [
        {
            "kind": kind,
            "uri": as_jpeg(view),
            "alt": picture.name + ("" if kind == "image" else f" with the {lines} of the {kind}"),
            "width": view.shape[1],
            "height": view.shape[0],
        }
        for kind, view in outlined_views(picture).items()
    ]
    return {"name": picture.name, "dice": shown(picture.dice), "rank": rank, "views": views}
