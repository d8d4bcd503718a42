"""Which images a network has seen: without it, an evaluation on them would look like one on new ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from ..core.files import write_atomically
from ..imaging.item import Item
from .datalist import Datalist, content

SEEN = Path("logs") / "seen.json"
"""In a run: images that trained it or chose its epoch, as hashes of their contents."""


def mark(item: Item) -> str:
    """What names an image, wherever it lies."""
    return sha256(content(item).encode()).hexdigest()[:16]


def marks_of(dataset: str | Path) -> set[str]:
    """Those of the training and validation images of a data set."""
    return {mark(item) for place, item in Datalist.read(dataset).labelled() if place.split != "test"}


def write_seen(path: Path, marks: Iterable[str]) -> None:
    """Write them down; what was seen in earlier sessions stays.

    Args:
        path: of the file.
        marks: as of `mark`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({"images": sorted(read_seen(path).union(marks))}) + "\n").encode())


def read_seen(path: Path) -> frozenset[str]:
    """What a run or an ensemble has seen, from its `SEEN`; nothing where that is not known."""
    try:
        return frozenset(map(str, json.loads(path.read_text(encoding="utf-8"))["images"]))
    except (OSError, ValueError, LookupError, TypeError):
        return frozenset()
