"""Images to segment: files, folders and globs, and the names of their masks."""

from __future__ import annotations

import glob
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from ..errors import InputError
from ..images import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)


def find_images(
    source: str | Path | Sequence[str | Path], on_error: Callable[[InputError], None] | None = None
) -> list[dict[str, str]]:
    """Image files in files, folders (of any depth) and globs, in the order given, each once.

    Args:
        source: one or several files, folders, globs.
        on_error: called for what holds no image; logged where ``None``.

    Returns:
        items with ``image`` (path) and ``name``: the relative path, without suffix, that outputs are named after. Two
        images of one name keep their suffix in it (``a.jpg``, ``a.png``), so that no output overwrites another.
    """
    on_error = on_error or (lambda error: logger.error(str(error)))
    found: dict[Path, tuple[Path, Path]] = {}
    for one in [source] if isinstance(source, str | Path) else source:
        pairs = _expand(one)
        if not pairs:
            on_error(
                InputError(
                    one,
                    "no image found",
                    f"name image files ({', '.join(sorted(IMAGE_SUFFIXES))}) or a folder",
                )
            )
        for path, name in pairs:
            found.setdefault(path.resolve(), (path, name))
    names = _unique([name for _, name in found.values()])
    return [{"image": str(path), "name": name} for (path, _), name in zip(found.values(), names, strict=True)]


def _expand(source: str | Path) -> list[tuple[Path, Path]]:
    """Paths and the relative names of their outputs."""
    if not str(source):
        return []  # Path("") would be the whole working folder
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        return [
            (p, p.relative_to(path))
            for p in files
            if not any(part.startswith(".") for part in p.relative_to(path).parts)
        ]
    if path.exists() or not glob.has_magic(str(source)):
        return [(path, Path(path.name))]  # a missing file is refused, by name, when it is read
    return [pair for match in sorted(glob.glob(str(source), recursive=True)) for pair in _expand(match)]


def _unique(names: list[Path]) -> list[str]:
    """Names without suffix; with it, then with a number, where they would clash."""
    stems = Counter(name.with_suffix("") for name in names)
    unique: dict[str, None] = {}  # a set that keeps its order
    for name in names:
        base = str(name if stems[name.with_suffix("")] > 1 else name.with_suffix(""))
        numbered = (f"{base}_{n}" for n in count(2))
        unique[base if base not in unique else next(other for other in numbered if other not in unique)] = None
    return list(unique)
