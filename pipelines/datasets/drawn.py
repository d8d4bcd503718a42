"""Which files Delineate wrote: those that a ``results.csv`` names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.sums import sha256
from ..inference.result_table import TABLE, OwnFile, own_files


def written_by_delineate(paths: Iterable[Path]) -> dict[Path, OwnFile]:
    """Those that are a table of results, or that such a table in their folder or above names, or links to such."""
    real = {path: path.resolve() for path in paths}
    folders = {folder for path in real.values() for folder in path.parents}
    own: dict[Path, OwnFile] = {}
    for folder in folders:
        if files := own_files(folder):
            own |= {folder / TABLE: OwnFile("table", "", ""), **files}
    return {path: own[file] for path, file in real.items() if file in own}


def drafts_among(paths: Iterable[Path]) -> dict[Path, OwnFile]:
    """Masks and DICOM objects that are as Delineate wrote them; tables of earlier versions do not tell."""
    own = written_by_delineate(paths)
    return {path: told for path, told in own.items() if told.sha256 and told.sha256 == sha256(path)}
