"""``report.txt``: an evaluation in plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.errors import counted
from .headline import headline
from .metrics import title_of
from .subgroups import LEAST
from .values import is_score

WIDTH = 110


def report_text(metrics: Mapping[str, Any]) -> str:
    """The text, from what ``metrics.json`` holds: protocol, counts, scores, failures, subgroups, worst images."""
    structures: Mapping[str, Any] = metrics.get("structures") or {}
    blocks = [
        _heading("Evaluation", "="),
        textwrap.fill(metrics["protocol"], WIDTH),
        _counts(metrics),
        *_folds(metrics),
        *_of_part("all structures" if structures else "", metrics),
        *(block for name, part in structures.items() for block in _of_part(name, part)),
        *_volumes(metrics.get("volumes")),
        *_worst(metrics.get("worst") or ()),
        *_refused(metrics["refused"]),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def outcome_line(images: Mapping[str, int]) -> str:
    """Images by outcome, in one line; of several structures, each counts by itself."""
    apart = images.get("found_without_overlap", 0)
    beside = f" ({apart} of them in the wrong place: no pixel shared)" if apart else ""
    return (
        f"found: {images['found']}{beside}; missed (empty prediction): {images['missed']}; "
        f"false alarms (empty reference): {images['false_alarm']}; rightly empty: {images['rightly_empty']}"
    )


def outcome_lines(images: Mapping[str, int]) -> list[str]:
    """Images by outcome, the empty ones on lines of their own."""
    apart = images.get("found_without_overlap", 0)
    beside = f", of which {apart} elsewhere: the two share no pixel" if apart else ""
    lines = {
        "found (neither is empty)": f"{images['found']}{beside}",
        "missed (the prediction is empty, the reference is not)": images["missed"],
        "false alarm (the reference is empty, the prediction is not)": images["false_alarm"],
        "rightly empty (both are)": images["rightly_empty"],
    }
    return [f"{text:<60}{count}" for text, count in lines.items()]


def _counts(metrics: Mapping[str, Any]) -> str:
    counts = f"{counted(metrics['count'], 'image')}, {counted(metrics['groups'], 'group')}"
    return f"{counts}, split {metrics['split']}, {len(metrics['refused'])} refused"


def folds_of(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, one a fold, of a cross-validation; no rows of anything else."""
    folds = (metrics.get("cross_validation") or {}).get("of_each") or ()
    rows = [[str(one["seed"]), str(one["fold"]), str(one["count"]), _number(one["mean_dice"])] for one in folds]
    return ["seed", "fold", "images", title_of("mean_dice")], rows


def _folds(metrics: Mapping[str, Any]) -> Iterable[str]:
    head, rows = folds_of(metrics)
    if rows:
        yield _heading("Each fold")
        yield _table(head, rows)


def _of_part(name: str, part: Mapping[str, Any]) -> list[str]:
    """Scores, failures, outcomes and subgroups, of all structures or of one."""
    behind = f": {name}" if name else ""
    scored = [key for key, score in part.items() if _is_scored(score)]
    return [
        _heading(f"Scores{behind}"),
        _table(["", "mean", "95 % interval", "median", "quartiles", "5th %", "images"], _score_rows(part, scored)),
        _heading(f"Failures{behind}"),
        "\n".join(failure_line(one) for one in part["failures"]),
        _heading(f"Empty masks{behind}"),
        "\n".join(outcome_lines(part["images"])),
        *_subgroups(behind, part),
    ]


def _score_rows(part: Mapping[str, Any], names: Iterable[str]) -> list[list[str]]:
    return [
        [
            title_of(name),
            _number(part[name]["value"]),
            _span(part[name]["ci95"]),
            _number(part[name]["median"]),
            _span([part[name]["q1"], part[name]["q3"]]),
            _number(part[name]["p5"]),
            str(part[name]["count"])
            + (f" ({part[name]['undefined']} undefined)" if part[name].get("undefined") else ""),
        ]
        for name in names
    ]


def failure_text(one: Mapping[str, Any]) -> str:
    """What failed: ``Mean Dice below 0.7``."""
    side = "below" if "below" in one else "above"
    return f"{title_of(one['metric'])} {side} {one[side]:g}"


def failure_line(one: Mapping[str, Any]) -> str:
    """How many images failed: ``Mean Dice below 0.7: 9 images, 15.0 % (6.7 to 25.0 %)``."""
    share = "undefined" if one["share"] is None else f"{100 * one['share']:.1f} %"
    interval = f" ({100 * one['ci95'][0]:.1f} to {100 * one['ci95'][1]:.1f} %)" if one["ci95"] else ""
    return f"{failure_text(one)}: {counted(one['count'], 'image')}, {share}{interval}"


def _subgroups(behind: str, part: Mapping[str, Any]) -> Iterable[str]:
    names = headline(part)
    for column, values in part["subgroups"].items():
        head = [column, "images", "groups", *map(title_of, names)]
        rows = [
            [value + share_text(found), str(found["count"]), str(found["groups"])]
            + [_with_interval(found[name]) if name in found else "-" for name in names]
            for value, found in values.items()
        ]
        yield _heading(f"By {column}{behind}")
        yield _table(head, rows) + f"\nBelow {LEAST} images no mean is shown." * any("-" in row for row in rows)


def share_text(found: Mapping[str, Any]) -> str:
    """Behind the name of a size, from which to which share of the image it goes: `` (0.52 to 2.40 % of the image)``."""
    share = found.get("share")
    return f" ({100 * share[0]:.2f} to {100 * share[1]:.2f} % of the image)" if share and share[1] else ""


def _volumes(volumes: Mapping[str, Any] | None) -> Iterable[str]:
    if volumes:
        names = [key for key, score in volumes.items() if _is_scored(score)]
        head = ["", "mean", "95 % interval", "median", "quartiles", "5th %", "volumes"]
        yield _heading(f"{counted(volumes['count'], 'volume')}, each as a whole")
        yield _table(head, _score_rows(volumes, names))


def _worst(worst: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if worst:
        rows = [
            [
                str(rank),
                _number(one.get("mean_dice")),
                one["image"] + (f", slice {one['slice']}" if "slice" in one else ""),
            ]
            for rank, one in enumerate(worst, 1)
        ]
        yield _heading("Images with the lowest Dice")
        yield _table(["", title_of("mean_dice"), "image"], rows)


def _refused(refused: Sequence[str]) -> Iterable[str]:
    if refused:
        yield _heading("Images that could not be scored")
        yield "\n".join(refused)


def _is_scored(score: Any) -> bool:
    return is_score(score) and score["value"] is not None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _span(bounds: Sequence[float | None] | None) -> str:
    return f"{_number(bounds[0])} to {_number(bounds[1])}" if bounds else "one group"


def _with_interval(score: Mapping[str, Any]) -> str:
    return "-" if score["value"] is None else f"{score['value']:.4f} ({_span(score['ci95'])})"


def _heading(text: str, line: str = "-") -> str:
    return f"{text}\n{line * len(text)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of their width, words to the left, numbers to the right."""
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    aligned = [
        [
            cell.ljust(width) if index == 0 or index == len(head) - 1 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in [head, *rows]
    ]
    return "\n".join("  ".join(row).rstrip() for row in aligned)
