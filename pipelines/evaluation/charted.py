"""What is charted by itself: a structure, or all there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..imaging.structures import Structure
from .figures import PALETTE
from .values import number

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Charted:
    """A structure, or all there is, with its rows and what ``metrics.json`` holds of it.

    Attributes:
        name: of the structure; empty where there is one.
        suffix: what stands behind its columns and files: ``_left_lung``.
        scores: as ``metrics.json`` has them.
        rows: of ``per_image.csv``.
        colour: of its lines in charts.
    """

    name: str
    suffix: str
    scores: Mapping[str, Any]
    rows: Rows
    colour: str

    def values(self, column: str) -> list[float | None]:
        """The numbers of a column of this structure, one a row."""
        return [number(row.get(column + self.suffix)) for row in self.rows]

    def titled(self, title: str) -> str:
        """A title with the structure's name."""
        return f"{title}: {self.name}" if self.name else title


def charted_structures(metrics: Mapping[str, Any], rows: Rows, structures: Sequence[Structure]) -> list[Charted]:
    """What is charted by itself: each of several structures, or the only one."""
    parts: Mapping[str, Any] = metrics.get("structures") or {}
    if not parts:
        return [Charted("", "", metrics, rows, PALETTE[0])]
    suffixes = {one.name: f"_{one.file_name}" for one in structures}
    return [
        Charted(name, suffixes.get(name, f"_{Structure(name).file_name}"), part, rows, PALETTE[index % len(PALETTE)])
        for index, (name, part) in enumerate(parts.items())
    ]
