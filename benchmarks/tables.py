"""The CSVs beside these scripts: read, and written whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from delineate.pipelines.core.files import replacing


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV; none where it is missing."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> None:
    """Replace a CSV; a cell that a row lacks stays empty.

    Args:
        path: the file.
        rows: by the names of columns.
        columns: those that are written; where ``None``, all that a row has, in the order in which they come.
    """
    named = columns or list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, named, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
