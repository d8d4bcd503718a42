"""Evaluations on disk: written, read again, and merged into one."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DelineateError, InputError
from ..core.files import write_atomically
from ..imaging.structures import Structure, structures_of
from ..inference.result_table import as_csv
from .page import remove_page, write_page
from .scored import MOST, TEXT, Evaluation, Row, Worst
from .summary import summarise
from .text import report_text
from .values import is_score
from .volumes import volumes_of

SCORES, SUMMARY, REPORT, VOLUMES = "per_image.csv", "metrics.json", "report.txt", "per_volume.csv"

_COMPUTED = (
    "failures",
    "images",
    "pixels",
    "lesions",
    "subgroups",
    "curve",
    "structures",
    "volumes",
    "worst",
    "familiar",
    "drafts",
)
_COUNTED = ("count", "groups", "grid", "empty_masks", "interval", "protocol")


def write_evaluation(evaluation: Evaluation, folder: str | Path, page: bool = True) -> dict[str, Any]:
    """Write ``metrics.json``, ``per_image.csv``, ``report.txt`` and, of slices of volumes, ``per_volume.csv``.

    ``metrics.json`` is written last: where it is, all others are, too. What an earlier evaluation left goes.

    Args:
        evaluation: what was scored.
        folder: made if missing.
        page: whether to write ``report.html`` and ``figures``, too.

    Returns:
        what ``metrics.json`` holds.
    """
    folder, metrics = Path(folder), summarise(evaluation)
    folder.mkdir(parents=True, exist_ok=True)
    volumes = volumes_of(evaluation)
    summary = json.dumps(metrics, indent=2, allow_nan=False) + "\n"
    for name in (SUMMARY, VOLUMES):
        (folder / name).unlink(missing_ok=True)  # of an evaluation that was here before
    texts = {SCORES: _table(evaluation.rows), **({VOLUMES: _table(volumes.rows)} if volumes else {})}
    texts |= {REPORT: report_text(metrics)}
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    if page:
        write_page(folder, evaluation, metrics)
    else:
        remove_page(folder)
    write_atomically(folder / SUMMARY, summary.encode())
    return metrics


def read_evaluation(folder: str | Path) -> Evaluation:
    """An evaluation that `write_evaluation` wrote.

    Raises:
        InputError: the folder holds none, or it is damaged.
    """
    folder = Path(folder)
    try:
        metrics = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        names = [name for name, score in metrics.items() if is_score(score)]
        structures = tuple(_structure(name, part) for name, part in (metrics.get("structures") or {}).items())
        text = {*TEXT, *(metrics.get("subgroups") or ())}
        volumes = folder / VOLUMES
        return Evaluation(
            rows=_read(folder / SCORES, text),
            metrics=names,
            structures=structures,
            histograms=_histograms(metrics),
            facts={k: v for k, v in metrics.items() if k not in {*names, *_COMPUTED, *_COUNTED}},
            worst=[
                Worst(one["row"], picture=folder / one["picture"])
                for one in metrics.get("worst") or ()
                if (folder / one["picture"]).is_file()  # an evaluation without a page has none
            ],
            volumes=_read(volumes, text) if volumes.is_file() else [],
        )
    except FileNotFoundError as error:
        reason = f"holds no {Path(error.filename).name}"
        raise InputError(folder, reason, "name the folder of an evaluation: delineate evaluate ... --out") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"holds no evaluation that can be read ({type(error).__name__}: {error})"
        raise InputError(folder, reason, "evaluate again: delineate evaluate") from error


def _structure(name: str, part: Mapping[str, Any]) -> Structure:
    """As far as an evaluation needs it: its name, and its colour where that is its own."""
    (found,) = structures_of([{"name": name, **({"colour": part["colour"]} if "colour" in part else {})}])
    return found


def merge(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Several evaluations as one over all their images, in their order.

    Facts that differ become a list of all; what was refused is joined.

    Raises:
        DelineateError: they are of other structures, or were made with other settings.
        ValueError: there is none.
    """
    if not evaluations:
        raise ValueError("there is no evaluation to merge")
    first = evaluations[0]
    for other in evaluations[1:]:
        _refuse_other("structures", [one.name for one in first.structures], [one.name for one in other.structures])
        _refuse_other("settings", first.settings, other.settings)
    starts = np.cumsum([0, *(len(one.rows) for one in evaluations)])
    rows = [row for one in evaluations for row in one.rows]
    sums = [one.histograms for one in evaluations if one.histograms is not None]
    moved = [
        replace(w, row=w.row + int(start)) for start, one in zip(starts, evaluations, strict=False) for w in one.worst
    ]
    return Evaluation(
        rows=rows,
        metrics=list(dict.fromkeys(name for one in evaluations for name in one.metrics)),
        structures=first.structures,
        histograms=np.sum(sums, axis=0) if len(sums) == len(evaluations) else None,
        facts=_merged([one.facts for one in evaluations]),
        worst=sorted(moved, key=lambda worst: rows[worst.row]["mean_dice"])[:MOST],
        volumes=[row for one in evaluations for row in one.volumes],
    )


def _merged(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in facts for name in one):
        values = [one[name] for one in facts if name in one]
        if name == "refused":
            found[name] = [error for refused in values for error in refused]
        else:
            found[name] = values[0] if all(value == values[0] for value in values) else values
    return found


def _refuse_other(what: str, first: Any, other: Any) -> None:
    if first != other:
        raise DelineateError(
            f"these evaluations are of other {what} ({first} and {other}), so that they cannot become one; evaluate "
            "alike: delineate evaluate"
        )


def _table(rows: Sequence[Row]) -> str:
    return as_csv(rows, list(dict.fromkeys(name for row in rows for name in row)))


def _read(path: Path, text: set[str]) -> list[Row]:
    """A table; cells are numbers but in columns of text, ``None`` where they are empty."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: _value(name, cell, text) for name, cell in row.items()} for row in csv.DictReader(file)]


def _value(name: str, cell: str, text: set[str]) -> Any:
    if not cell:
        return None
    if name in text or name.startswith("outcome"):
        return cell.removeprefix("'")
    number = cell.removeprefix("'")  # before what is below zero
    return int(number) if number.lstrip("-").isdigit() else float(number)


def _histograms(metrics: Mapping[str, Any]) -> NDArray[np.int64] | None:
    parts = list((metrics.get("structures") or {"": metrics}).values())
    if not all("curve" in part for part in parts):
        return None
    return np.array([part["curve"]["counts"] for part in parts], np.int64)
