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


def mark_of_file(item: Item) -> str:
    """What names the file of an image, or its slice, wherever it lies."""
    return _mark(content(item))


def marks(item: Item) -> set[str]:
    """What names an image: its file, and its pixels, which a copy in another format may share."""
    return {mark_of_file(item), *([_mark(f"pixels {item.pixels_sha256}")] if item.pixels_sha256 else [])}


def marks_of(dataset: str | Path) -> set[str]:
    """Those of the training and validation images of a data set."""
    used = (item for place, item in Datalist.read(dataset).labelled() if place.split != "test")
    return set().union(*map(marks, used))


def marks_among(items: Iterable[Item], used: Iterable[Item]) -> set[str]:
    """Those of the items of a data list that were used, which a training knows by their files alone."""
    files = set(map(mark_of_file, used))
    return set().union(*(marks(item) for item in items if mark_of_file(item) in files))


def write_seen(path: Path, marks: Iterable[str]) -> None:
    """Write them down; what was seen in earlier sessions stays.

    Args:
        path: of the file.
        marks: as of the function `marks`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({"images": sorted(read_seen(path).union(marks))}) + "\n").encode())


def read_seen(path: Path) -> frozenset[str]:
    """What a run or an ensemble has seen, from its `SEEN`; nothing where that is not known."""
    try:
        return frozenset(map(str, json.loads(path.read_text(encoding="utf-8"))["images"]))
    except (OSError, ValueError, LookupError, TypeError):
        return frozenset()


def _mark(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:16]
