"""Files that are still what they were when they were indexed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from ..core.errors import InputError, permission_denied
from ..core.sums import sha256 as file_hash
from .volumes.formats import volume_files

Stamp = tuple[str, int, int, int]


def content_hash(path: Path) -> str:
    """The sha256 of a file, in hex; of a folder, or a header and its data, of their hashes, whatever their names."""
    files = _files(path)
    if files == [path]:
        return file_hash(path)
    return sha256("".join(sorted(map(file_hash, files))).encode()).hexdigest()


def refuse_changed(paths: str | Path | Sequence[str | Path], hashes: str | Sequence[str] | None) -> None:
    """Compare files with the hashes that a data list has of them; each is hashed once while it stays as it is.

    Args:
        paths: a file or folder, or several.
        hashes: as many; nothing is compared where there are none.

    Raises:
        InputError: one has changed, or may not be read. A missing one is left to its reader.
    """
    if not hashes:
        return
    paths = [paths] if isinstance(paths, str | Path) else paths
    for path, expected in zip(map(Path, paths), [hashes] if isinstance(hashes, str) else hashes, strict=True):
        try:
            changed = path.exists() and _hash(path, stamps_of(path)) != expected
        except PermissionError as error:
            raise permission_denied(error.filename or path) from error
        if changed:
            raise InputError(path, "changed since it was indexed", "index again, or restore it")


@lru_cache(maxsize=1 << 17)
def _hash(path: Path, _: tuple[Stamp, ...]) -> str:
    return content_hash(path)


def stamps_of(path: Path) -> tuple[Stamp, ...]:
    """Names, sizes and times of what `content_hash` reads."""
    states = [(str(file), os.stat(file)) for file in _files(path)]
    return tuple((name, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for name, state in states)


def _files(path: Path) -> list[Path]:
    """What a path of a data list stands for: a file, a volume's header and data, or all files of a series' folder."""
    if path.is_file():
        return list(volume_files(path))
    return sorted(file for file in path.rglob("*") if file.is_file())
