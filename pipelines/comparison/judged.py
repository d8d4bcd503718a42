"""Evaluations that are to be compared: read, and seen to be of the same images."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..core.errors import DelineateError, counted, printable
from ..inference.result_table import FORMULA

Row = Mapping[str, str]
Key = tuple[str, str, str, int]
FILES = ("metrics.json", "per_image.csv")
CROSS_VALIDATION = "cross_validation.json"
"""In the folder of a cross-validation."""
_SHOWN = 3


@dataclass(frozen=True)
class Judged:
    """An evaluation.

    Attributes:
        name: what it is called in the comparison.
        folder: of ``metrics.json`` and ``per_image.csv``.
        metrics: what the first holds.
        rows: of the second, one an image.
        run: the bundle that was scored: the one that is recorded, or in which the evaluation lies.
    """

    name: str
    folder: Path
    metrics: Mapping[str, Any]
    rows: Sequence[Row]
    run: Path | None = None

    @property
    def structures(self) -> list[str]:
        """The names of the structures, where there are several."""
        return list(self.metrics.get("structures", ()))

    @property
    def bundle(self) -> Mapping[str, Any]:
        """What ``metrics.json`` records of the bundle; nothing where there were several."""
        found = self.metrics.get("bundle")
        return found if isinstance(found, Mapping) else {}

    def network_of(self, row: Row) -> tuple[Path | None, str | None]:
        """The bundle that outlined an image, and its hash: in a cross-validation that of the image's fold."""
        for one in (self.metrics.get("cross_validation") or {}).get("of_each") or ():
            place = {name: str(one[name]) for name in ("fold", "seed")}
            if all(row.get(name, value) == value for name, value in place.items()):
                bundle = one.get("bundle") or {}
                return (Path(bundle["path"]) if bundle.get("path") else None), bundle.get("hash")
        return self.run, self.bundle.get("hash")


def is_evaluation(folder: str | Path) -> bool:
    """Whether a folder has the files of an evaluation."""
    return all((Path(folder) / name).is_file() for name in FILES)


def evaluation_in(folder: str | Path) -> str | Path:
    """The evaluation of a cross-validation's folder; anything else is itself."""
    inside = Path(folder) / "evaluation"
    return inside if (Path(folder) / CROSS_VALIDATION).is_file() and is_evaluation(inside) else folder


def read_judged(name: str, folder: Path, run: Path | None = None) -> Judged:
    """Read an evaluation.

    Raises:
        DelineateError: a file is missing, or none of an evaluation.
    """
    try:
        metrics = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
        with (folder / FILES[1]).open(encoding="utf-8", newline="") as file:
            rows = [{key: _plain(cell) for key, cell in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error, AttributeError) as error:
        raise DelineateError(f"{printable(folder)} is no evaluation ({error}); make it again") from error
    if not isinstance(metrics, dict) or not rows or "image" not in rows[0]:
        raise DelineateError(f"{printable(folder)} is no evaluation: no image is in its {FILES[1]}; make it again")
    judged = Judged(name, folder, metrics, rows, run)
    return judged if run else replace(judged, run=Path(judged.bundle.get("path") or folder.absolute().parent))


def _plain(cell: str) -> str:
    """A cell without what keeps spreadsheets from taking it for a formula."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def aligned(judged: Sequence[Judged], metrics: Sequence[str] = ()) -> list[list[Row]]:
    """The rows of each evaluation, those of one image at the same place.

    Args:
        judged: the evaluations.
        metrics: that are compared: what they depend on has to be the same.

    Raises:
        DelineateError: they are of other data, splits, structures, images, groups or references; it names what differs.
    """
    first, keys = judged[0], _keys(judged)
    for other, theirs in zip(judged[1:], keys[1:], strict=True):
        if differing := [*_facts(first, other, metrics), *_images(first, other, keys[0], theirs)]:
            raise DelineateError(
                f"{first.name} and {other.name} cannot be compared: {'; '.join(differing)}. Evaluate both on the same "
                "data and split, e.g. delineate compare RUN RUN --on DATASET"
            )
    tables = [[rows[key] for key in keys[0]] for rows in keys]
    for other, rows in zip(judged[1:], tables[1:], strict=True):
        _refuse_other_references(first, other, tables[0], rows)
    return tables


def _facts(first: Judged, other: Judged, metrics: Sequence[str]) -> Iterator[str]:
    """What is said of both and differs."""
    for name, what in {"split": "split", "data_hash": "data (data_hash)"}.items():
        if first.metrics.get(name) != other.metrics.get(name):
            seen = (str(one.metrics.get(name))[:12] for one in (first, other))
            yield f"the {what} is {' and '.join(seen)}"
    if first.structures != other.structures:
        seen = (", ".join(one.structures) or "one alone" for one in (first, other))
        yield f"the structures are {' and '.join(seen)}"
    tolerances = [(one.metrics.get("settings") or {}).get("tolerance_mm") for one in (first, other)]
    if tolerances[0] != tolerances[1] and any(name.startswith("nsd_mm") for name in metrics):
        yield f"the tolerance of nsd_mm is {tolerances[0]} and {tolerances[1]} mm"


def _images(first: Judged, other: Judged, ours: Mapping[Key, Row], theirs: Mapping[Key, Row]) -> Iterator[str]:
    """Which images are only in one of both."""
    for name, only in {first.name: ours.keys() - theirs.keys(), other.name: theirs.keys() - ours.keys()}.items():
        if only:
            shown = ", ".join(_key_text(key) for key in islice(sorted(only), _SHOWN))
            more = " ..." if len(only) > _SHOWN else ""
            yield f"{counted(len(only), 'image')} only in {name} ({shown}{more})"


def _key_text(key: Key) -> str:
    return printable(key[0]) + (f" slice {key[2]}" if key[2] else "")


def _keys(judged: Sequence[Judged]) -> list[dict[Key, Row]]:
    """The rows by image and slice, of several alike by their number; in their order.

    Where no path is in two evaluations, as when they were made on two machines, images are known by their paths below
    the folder that all of an evaluation lie in.
    """
    found = [_by_key(one.rows, "") for one in judged]
    if any(found[0].keys().isdisjoint(keys) for keys in found[1:]):
        return [_by_key(one.rows, _common_folder(one.rows)) for one in judged]
    return found


def _by_key(rows: Sequence[Row], folder: str) -> dict[Key, Row]:
    seen: Counter[tuple[str, str, str]] = Counter()
    found: dict[Key, Row] = {}
    for row in rows:
        image = row["image"][len(folder) :].lstrip("/\\") if folder else row["image"]
        name = image, row.get("series") or "", row.get("slice") or ""
        found[(*name, seen[name])] = row
        seen[name] += 1
    return found


def _common_folder(rows: Sequence[Row]) -> str:
    try:
        return os.path.commonpath([os.path.dirname(row["image"]) for row in rows])
    except ValueError:  # some are absolute, some are not, or on several drives
        return ""


def _refuse_other_references(first: Judged, other: Judged, ours: Sequence[Row], theirs: Sequence[Row]) -> None:
    """See that an image has the same group and as much of each structure."""
    columns = [name for name in ours[0] if name == "group" or name.startswith("reference_pixels")]
    for mine, its in zip(ours, theirs, strict=True):
        for name in columns:
            if mine[name] != its.get(name, mine[name]):
                raise DelineateError(
                    f"{first.name} and {other.name} cannot be compared: {printable(mine['image'])} has the {name} "
                    f"{mine[name]!r} in one and {its[name]!r} in the other; evaluate both on the same data again"
                )


def values(rows: Sequence[Row], column: str) -> list[float]:
    """The numbers of a column; NaN where there is none."""
    return [float(row.get(column) or "nan") for row in rows]
