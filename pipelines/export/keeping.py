"""Graphs put into their place, and listed where that is a bundle's ``models/``."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..core.files import replacing
from ..core.sums import replacing_listed


def keep(written: Path, path: Path, models: Path) -> None:
    """Put what was written into its place: what belongs to the graph before the graph.

    Args:
        written: the graph, in a folder with nothing else but what belongs to it.
        path: its place.
        models: the bundle's folder of weights, where hashes are listed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in sorted(written.parent.iterdir(), key=lambda part: part == written):
        place = path.with_suffix(part.suffix)
        with replacing_listed(place) if is_within(path, models) else replacing(place) as temporary:
            shutil.copyfile(part, temporary)


def is_within(path: Path, models: Path) -> bool:
    """Whether a file lies in a bundle's ``models/``."""
    return path.resolve().parent == models.resolve()
