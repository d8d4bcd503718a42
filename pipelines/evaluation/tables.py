"""The tables of an evaluation's page: numbers as people read them, a dash and a reason where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .headline import main_metrics
from .metrics import METRICS, title_of
from .scored import Evaluation
from .text import share_text
from .values import DASH, number, score_of, shown, span

_IN_ROWS = ("mean_dice", "mean_iou", "precision", "recall", "hd95", "msd", "nsd", "area_error", "lesion_f1")


@dataclass(frozen=True)
class Line:
    """A score, as a line of a table."""

    name: str
    better: str
    value: str
    interval: str
    median: str
    quartiles: str
    spread: str
    count: str
    part: bool = False


@dataclass(frozen=True)
class Table:
    """Headings, each with whether it stands above numbers, and rows of cells.

    Attributes:
        title: above it.
        heads: ``(heading, whether numbers stand below)``.
        rows: ``(id, cells)``.
    """

    title: str
    heads: Sequence[tuple[str, bool]]
    rows: Sequence[tuple[str, Sequence[str]]]


def score_table(metrics: Mapping[str, Any], names: Iterable[str]) -> list[Line]:
    """A line for each metric that has a value and, where there are several structures, for each of them below."""
    parts: Mapping[str, Any] = metrics.get("structures") or {}
    lines = []
    for name in names:
        if score_of(metrics.get(name)).get("value") is None:
            continue
        title = title_of(name) + (", mean over structures" if parts else "")
        lines.append(_line(title, name, metrics[name]))
        lines += [_line(part, name, found[name], part=True) for part, found in parts.items() if name in found]
    return lines


def _line(title: str, name: str, entry: Any, part: bool = False) -> Line:
    score = score_of(entry)
    quartiles, spread = ([score.get(low), score.get(high)] for low, high in (("q1", "q3"), ("p5", "p95")))
    return Line(
        title,
        "" if part else better(name),
        shown(score.get("value"), name),
        span(score.get("ci95"), name),
        shown(score.get("median"), name),
        span(quartiles, name) if None not in quartiles else DASH,
        span(spread, name) if None not in spread else DASH,
        str(score.get("count", DASH)),
        part,
    )


def better(name: str) -> str:
    """Which values of a metric are the better ones, in words."""
    if name not in METRICS:
        return ""
    return "higher is better" if METRICS[name].higher_is_better else "lower is better"


def undefined_notes(metrics: Mapping[str, Any], names: Iterable[str]) -> list[tuple[str, str]]:
    """Metrics without any value, those alike together, with the reason."""
    reasons: dict[str, list[str]] = {}
    for name in names:
        if score_of(metrics.get(name)).get("value") is None:
            reasons.setdefault(_reason(name), []).append(title_of(name))
    return [("; ".join(titles), reason) for reason, titles in reasons.items()]


def _reason(name: str) -> str:
    metric = METRICS.get(name)
    if getattr(metric, "needs_spacing", False):
        return "the files do not say how large a pixel is"
    if getattr(metric, "without_spacing", False):
        return "the files say how large a pixel is, so that distances are in mm"
    return "no image has a value"


def subgroup_tables(metrics: Mapping[str, Any], names: Sequence[str]) -> list[Table]:
    """A table for each column that images were divided by."""
    tables = []
    for column, values in (metrics.get("subgroups") or {}).items():
        heads = [(column, False), ("images", True), ("groups", True), *((title_of(name), True) for name in names)]
        rows = [("", [str(value) + share_text(found), *_of_subgroup(found, names)]) for value, found in values.items()]
        tables.append(Table(f"By {column}", heads, rows))
    return tables


def _of_subgroup(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    scores = {name: score_of(found.get(name)) for name in names}
    cells = [
        DASH if score.get("value") is None else f"{shown(score['value'], name)} {_whole(span(score.get('ci95'), name))}"
        for name, score in scores.items()
    ]
    return [str(found.get("count", DASH)), str(found.get("groups", DASH)), *cells]


def _whole(interval: str) -> str:
    """In brackets, and on one line."""
    return f"({interval})".replace(" ", "\N{NO-BREAK SPACE}")


def image_table(evaluation: Evaluation, metrics: Mapping[str, Any]) -> Table:
    """All images, the lowest Dice first; those without a Dice last."""
    rows = evaluation.rows
    names = main_metrics(metrics, _IN_ROWS)
    fields = dict.fromkeys(("slice", "group", "class", "source", *(metrics.get("subgroups") or ())))
    facts = [field for field in fields if any(row.get(field) not in (None, "") for row in rows)]
    parts = parts_of(evaluation)
    several = parts if len(parts) > 1 else {}
    dices = [(f"mean_dice{suffix}", f"Dice: {name}") for suffix, name in several.items()]
    columns = [*((name, title_of(name)) for name in names[:1]), *dices, *((name, title_of(name)) for name in names[1:])]
    heads = [("image", False), *((field, field == "slice") for field in facts), ("outcome", False)]
    heads += [("size, % of image", True), *((title, True) for _, title in columns)]
    images = short_names([str(row["image"]) for row in rows])
    table = []
    for index in sorted(range(len(rows)), key=lambda index: _first_lowest(rows[index])):
        row = rows[index]
        cells = [images[index], *(str(row.get(field) or ("0" if row.get(field) == 0 else "")) for field in facts)]
        cells += [outcome(row, parts), _size(row, evaluation.suffixes)]
        table.append((row_id(index), [*cells, *(shown(row.get(key), name_of(key, names)) for key, _ in columns)]))
    return Table("All images", heads, table)


def row_id(index: int) -> str:
    """What a link to a row of the table names."""
    return f"image-{index + 1}"


def name_of(column: str, names: Sequence[str]) -> str:
    """The metric that a column is of, which may be of one structure."""
    return next((name for name in names if column.startswith(name)), column)


def _first_lowest(row: Mapping[str, Any]) -> tuple[bool, float]:
    dice = number(row.get("mean_dice"))
    return dice is None, dice or 0.0


def parts_of(evaluation: Evaluation) -> dict[str, str]:
    """What columns of each structure end with, and its name; both empty where there is one."""
    names = [one.name for one in evaluation.structures] if len(evaluation.suffixes) > 1 else [""]
    return dict(zip(evaluation.suffixes, names, strict=True))


def outcome(row: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    """What became of the image; of several structures, of those that were not found."""
    found = {name: str(row.get(f"outcome{suffix}") or "not annotated") for suffix, name in parts.items()}
    if len(found) == 1:
        return next(iter(found.values()))
    kinds = {kind: [name for name, each in found.items() if each == kind] for kind in found.values()}
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if kind != "found") or "found"


def _size(row: Mapping[str, Any], suffixes: Sequence[str]) -> str:
    areas = [number(row.get(f"reference_pixels{suffix}")) for suffix in suffixes]
    pixels, there = number(row.get("pixels")), [area for area in areas if area is not None]
    return f"{100 * sum(there) / pixels:.2f}" if there and pixels else DASH


def short_names(paths: Sequence[str]) -> list[str]:
    """Paths without the folder that all share."""
    folders = {os.path.dirname(path) for path in paths}
    try:
        shared = os.path.commonpath(folders)
    except ValueError:  # no folders, or on several drives
        return list(paths)
    return [os.path.relpath(path, shared) if shared else path for path in paths]


def glossary(names: Iterable[str]) -> list[Mapping[str, str]]:
    """What each metric is called, what it gives for empty masks, and where it is defined."""
    return [
        {
            "name": name,
            "title": title_of(name),
            "better": better(name),
            "empty": METRICS[name].empty if name in METRICS else "as its documentation says",
            "source": getattr(METRICS.get(name), "source", ""),
        }
        for name in names
    ]
