"""What each result was made of, so that a later call knows which are done; and what a killed one left half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from ..core.errors import InputError, printable
from ..core.sums import sha256 as file_hash
from ..imaging.held import HeldImage
from ..imaging.item import Item, kind_of
from ..imaging.reading import open_volume, series_at
from ..imaging.unchanged import Stamp, content_hash, stamps_of
from ..imaging.writers.mark import is_as_drawn, read_mark
from .files import KINDS
from .result_table import Key, hashes_in, own_files

Rows = Sequence[Mapping[str, str]]
_PENDING = ".delineate.pending"


def input_hash(item: Item) -> str:
    """SHA-256 over the bytes of an item's files, whatever they are called; nothing where they cannot be read."""
    if isinstance(item.image, HeldImage):
        return ""
    try:
        files = series_at(item.file, item.series).files if item.series is not None else item.files
        hashes = [_hash(path, _stamps(path)) for path in files]
    except (OSError, InputError):  # whoever reads the image says so
        return ""
    return sha256("".join(hashes).encode()).hexdigest()


def _stamps(path: Path) -> tuple[Stamp, ...]:
    os.stat(path)  # of what is missing there are no stamps
    return stamps_of(path)


@lru_cache(maxsize=16)  # the frames of a file come one after the other
def _hash(path: Path, _: tuple[Stamp, ...]) -> str:
    return content_hash(path)


def record_of(folder: Path, rows: Rows, made_of: Iterable[Any]) -> str:
    """A result's record: SHA-256 over its rows, its files, and what it was made of.

    Args:
        folder: that the rows name files of.
        rows: of one result, with or without their record.
        made_of: the hash of its input, and the settings.

    Returns:
        64 hex digits, or nothing where a file is missing.
    """
    cells = [{name: cell for name, cell in row.items() if cell and name != "record"} for row in rows]
    files = sorted({row[kind] for row in rows for kind in KINDS if row.get(kind)})
    try:
        hashes = [file_hash(folder / file) for file in files]
    except OSError:
        return ""
    return sha256(json.dumps([cells, hashes, *made_of], sort_keys=True, default=str).encode()).hexdigest()


def changed_files(folder: Path, rows: Rows) -> list[Path]:
    """Masks and DICOM objects that differ from what was written, and can be read: a person may have corrected them.

    Args:
        folder: that the rows name files of.
        rows: of one result; those of earlier versions, without ``files_sha256``, tell nothing.
    """
    written = {folder / row[kind]: digest for row in rows for kind, digest in hashes_in(row).items() if row.get(kind)}
    return [path for path, as_written in written.items() if is_changed(path, as_written)]


def refuse_changed(source: str, changed: Sequence[Path]) -> None:
    """Refuse to replace what a person may have corrected.

    Args:
        source: whose result would take its place.
        changed: as `changed_files` or `changed_in` finds them.

    Raises:
        InputError: there is one.
    """
    if changed:
        raise InputError(
            source,
            f"{printable(changed[0])} was changed since Delineate wrote it, and would be lost",
            "move that file away, choose another folder, or pass over what is done (segment --skip-existing)",
        )


def refuse_others_work(source: str, folder: Path, names: Iterable[str]) -> None:
    """Refuse to replace masks that somebody else made, or corrected.

    Args:
        source: whose masks would take their place.
        folder: where to; what its ``results.csv`` names is left to `refuse_changed`.
        names: of the masks' files.

    Raises:
        InputError: there is one without Delineate's mark, or whose pixels are no longer those of its mark.
    """
    written = own_files(folder)
    for path in (folder / name for name in names):
        if path in written or not path.exists():
            continue
        if not ((mark := read_mark(path)) and is_as_drawn(path, mark)):
            raise InputError(
                source,
                f"its mask would replace {printable(path)}, which is not as Delineate drew it",
                "move that file away, or save under another name",
            )


def changed_in(folder: Path, names: Iterable[str]) -> list[Path]:
    """As `changed_files`, of files of a folder whose ``results.csv``, if there is one, tells what was written."""
    written = own_files(folder)
    paths = [folder / name for name in names]
    return [path for path in paths if path in written and is_changed(path, written[path].sha256)]


def former_key(where: Mapping[str, str], table: Mapping[Key, Rows], among: Iterable[Key]) -> Key | None:
    """Where an image lay whose rows are to be found: it was moved, or copied together with its results.

    That is so of the same bytes under the same name, if nothing is left where it lay, or if that was the same place
    seen from the folder of the results.

    Args:
        where: what a row says of the image's place.
        table: rows by their keys.
        among: keys of images with the same bytes.
    """
    for key in among:
        row = table[key][0]
        old, new = ((PurePath(one["input"]).name, one["series"], one["frame"]) for one in (row, where))
        is_same_place = row["input_from_here"] == where["input_from_here"] != ""  # nothing of a URL
        if old == new and (is_same_place or not _is_there(row["input"])):
            return key
    return None


def _is_there(source: str) -> bool:
    return source.startswith(("http://", "https://")) or any(map(os.path.lexists, source.split("; ")))


def is_changed(path: Path, as_written: str) -> bool:
    """Whether a file differs from what was written, as its SHA-256 tells, and can be read."""
    if not as_written:
        return False
    try:
        return file_hash(path) != as_written and _opens(path)
    except (OSError, SyntaxError, InputError):  # gone, or damaged (Pillow's SyntaxError): nobody's work
        return False


def _opens(path: Path) -> bool:
    """Whether a file can be read to its end, also one that is no mask: a person may have saved it in colours."""
    kind = kind_of(path)
    if kind == "volume":
        return bool(open_volume(path).voxels.size)
    if kind == "picture":
        with Image.open(path) as picture:
            picture.load()
    return True  # of a DICOM object nobody but its maker can tell


class Pending:
    """The files of the result that is being written to a folder, noted there until its rows are in the table.

    Args:
        folder: the folder; whoever calls has it for himself.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._note = folder, folder / _PENDING

    @contextmanager
    def of(self, files: Collection[str], is_listed: Callable[[str], bool]) -> Iterator[None]:
        """While the block writes these files and their rows; as `clear` where it fails."""
        self._note.write_text(json.dumps(sorted(files)), encoding="utf-8")
        try:
            yield
        except BaseException:
            self.clear(is_listed)
            raise
        self._note.unlink()

    def clear(self, is_listed: Callable[[str], bool]) -> None:
        """Remove what a writer that was stopped left, but for what the table lists: that is told by its record."""
        try:
            names = json.loads(self._note.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError:  # it was stopped before it wrote anything else
            names = []
        for name in names:
            inside = not PurePath(name).is_absolute() and ".." not in PurePath(name).parts
            if inside and not is_listed(name):
                with suppress(OSError):  # it was never there, or cannot be: no file has such a name
                    (self._folder / name).unlink()
        with suppress(OSError):
            self._note.unlink()
