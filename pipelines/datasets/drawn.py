"""Which files Delineate wrote: those that a ``results.csv`` names, and masks that bear its mark."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.sums import sha256
from ..imaging.writers.mark import is_as_drawn, read_mark
from ..inference.result_table import TABLE, OwnFile, own_files


def written_by_delineate(paths: Iterable[Path]) -> dict[Path, OwnFile]:
    """Those that are a table of results, that such a table in their folder or above names, or that bear the mark.

    Links to such are among them, and masks that were copied away from their table, or saved from Python.
    """
    real = {path: path.resolve() for path in paths}
    folders = {folder for path in real.values() for folder in path.parents}
    own: dict[Path, OwnFile] = {}
    for folder in folders:
        if files := own_files(folder):
            own |= {folder / TABLE: OwnFile("table", "", ""), **files}
    named = {path: own[file] for path, file in real.items() if file in own}
    return named | {path: of_mark for path in real if path not in named and (of_mark := _by_mark(path))}


def _by_mark(path: Path) -> OwnFile | None:
    """What the mark in a file says; its hash is another than the file's where the mask was changed since."""
    mark = read_mark(path)
    return OwnFile("mask", sha256(path) if is_as_drawn(path, mark) else mark, "") if mark else None


def drafts_among(paths: Iterable[Path]) -> dict[Path, OwnFile]:
    """Masks and DICOM objects that are as Delineate wrote them; tables of earlier versions do not tell."""
    own = written_by_delineate(paths)
    return {path: told for path, told in own.items() if told.sha256 and told.sha256 == sha256(path)}
