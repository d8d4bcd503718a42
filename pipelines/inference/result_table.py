"""``results.csv``: what became of each input, in a table that stays true whenever its writer is stopped."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..core.errors import DelineateError, permission_denied
from ..core.files import write_atomically
from ..imaging.objects import OBJECT_FORMATS
from .files import KINDS, PIXEL_KINDS

TABLE = "results.csv"
COLUMNS = (
    *("input", "series", "frame", "structure", "status", "reason", *PIXEL_KINDS, "value", "grid"),
    *("foreground", "area_or_volume", "unit", "threshold", "bundle", "bundle_verified", "delineate"),
    *("members", "tta", "backend", "familiar", "feature_distance"),
    *(*OBJECT_FORMATS, "files_sha256", "input_sha256", "input_from_here", "record"),
)
"""``structure`` is empty where there is one; ``value`` is that of its pixels in the mask's file, or its segment;
``members`` are hashes of what an ensemble is made of; ``backend`` is what computed the network, its version and
precision; ``familiar`` is yes or no, see `Segmentation`; ``files_sha256`` is of mask and DICOM objects as they were
written, by which one that was changed since is known, see `hashes_in`; ``input_sha256`` is of the input's bytes and
``input_from_here`` its path from the table's folder, by which an image that was moved is known, see `former_key`;
``record`` is a hash of what the files were made of and of the files, see `record_of`."""

_LATER = (
    *("structure", "members", "tta", "backend", "familiar", "feature_distance"),
    *(*OBJECT_FORMATS, "files_sha256", "input_sha256", "input_from_here", "record"),
)  # not in tables of before
_COMMON = frozenset({"input", "series", "frame", "status", "reason", *PIXEL_KINDS})  # of tables of all versions
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")

Row = dict[str, str]
Key = tuple[str, str, str, str]


class OwnFile(NamedTuple):
    """A file that a table of results names.

    Attributes:
        kind: ``mask``, ``overlay``, ``seg`` ...
        sha256: as it was written, which the table tells of masks and DICOM objects; else empty.
        input: the path of what it is a result of.
    """

    kind: str
    sha256: str
    input: str


def main_file(row: Mapping[str, str]) -> str:
    """The mask, or else the first DICOM object, of a row; nothing where it is no result's."""
    return next((row[kind] for kind in ("mask", *OBJECT_FORMATS) if row.get(kind)), "")


def key_of(row: Mapping[str, str]) -> Key:
    """What a row is of: an image, by input, series and frame; or a refusal, by input and reason."""
    if main_file(row):
        return row["input"], row["series"], row["frame"], ""
    return row["input"], "", "", row["reason"] or row["status"]


def hashes_in(row: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of a row's files as they were written, by kind (``mask``, ``seg`` ...); none in tables of before."""
    told = (row.get("files_sha256") or "").split("; ")
    return {kind: digest for kind, _, digest in (one.partition(" ") for one in told) if digest}


def safe_cell(value: object) -> object:
    """A text that no spreadsheet takes for a formula: ``'`` goes before what begins like one, or with ``'``."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def as_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str], header: bool = True) -> str:
    """CSV text of `rows`, each cell a `safe_cell`."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    if header:
        writer.writeheader()
    writer.writerows({name: safe_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


class ResultTable:
    """The rows of a folder's ``results.csv``; UTF-8 with a byte order mark, by which spreadsheets know it.

    New rows are appended; those that take the place of others are written with all others, beside the table, which is
    then replaced. So whoever reads the table finds each row whole, and one an image, or one a structure of it.

    Args:
        folder: the folder; it may be missing until the first `put`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / TABLE
        self.rows: dict[Key, list[Row]] = {}
        self._texts: dict[Key, str] = {}  # as they are written: of an archive, all others stay as they are
        self._columns: tuple[str, ...] = COLUMNS
        self._stamp: tuple[int, ...] | None = None
        self._intact = True

    def refresh(self) -> bool:
        """Read the table where another process wrote it since; whether that was so.

        Raises:
            DelineateError: the folder's ``results.csv`` is something else.
        """
        if (stamp := self._now()) == self._stamp:
            return False
        self._columns, rows, self._intact = _read(self.path) if stamp else (COLUMNS, [], True)
        self.rows = _grouped(rows)
        self._texts.clear()
        self._stamp = stamp
        return True

    def put(self, rows: Sequence[Row], instead_of: Iterable[Key] = ()) -> None:
        """Add the rows of one key, which take the place of all of that key and of those in `instead_of`."""
        key = key_of(rows[0])
        if not instead_of and self._intact and self.rows.get(key) == list(rows):
            return
        replaced = [old for old in {key, *instead_of} if old in self.rows]
        for old in replaced:
            del self.rows[old]
            self._texts.pop(old, None)
        self.rows[key] = list(rows)
        if replaced or self._stamp is None or not self._intact or not set(rows[0]) <= set(self._columns):
            self._write_all()
        else:
            _append(self.path, as_csv(rows, self._columns, header=False).encode())
        self._stamp = self._now()

    def follow(self, old: Key, rows: Sequence[Row]) -> None:
        """Give the rows of an image that was moved a new key; the file says so when it is next written."""
        del self.rows[old]
        self._texts.pop(old, None)
        self.rows[key_of(rows[0])] = list(rows)
        self._intact = False

    def flush(self) -> None:
        """Write the table where its rows are not those of the file."""
        if not self._intact:
            self._write_all()
            self._stamp = self._now()

    def _write_all(self) -> None:
        columns = tuple(dict.fromkeys([*COLUMNS, *self._columns]))
        if columns != self._columns:
            self._texts.clear()
        self._columns, self._intact = columns, True
        for key in self.rows.keys() - self._texts.keys():
            self._texts[key] = as_csv(self.rows[key], columns, header=False)
        text = as_csv([], columns) + "".join(map(self._texts.__getitem__, self.rows))
        write_atomically(self.path, text.encode("utf-8-sig"))

    def _now(self) -> tuple[int, ...] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def own_files(folder: Path) -> dict[Path, OwnFile]:
    """The masks, overlays, DICOM objects ... that the table in `folder` names; none where there is no such table.

    One that a spreadsheet saved again, with other separators or letters, still says what Delineate wrote.

    Raises:
        InputError: there is such a file, and this user may not read it.
    """
    try:
        text = (folder / TABLE).read_bytes().decode("utf-8-sig", errors="replace")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        if not set(rows.fieldnames or ()) >= _COMMON:
            return {}
        return {
            folder / cell.removeprefix("'"): OwnFile(kind, hashes_in(row).get(kind, ""), row["input"].removeprefix("'"))
            for row in rows
            for kind in KINDS
            if (cell := row.get(kind))
        }
    except PermissionError as error:
        raise permission_denied(folder / TABLE) from error
    except (csv.Error, OSError):
        return {}


def _grouped(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """Rows by their key; of two of one structure the last."""
    found: dict[Key, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(key_of(row), {})[row["structure"]] = row
    return {key: list(by_structure.values()) for key, by_structure in found.items()}


def _read(path: Path) -> tuple[tuple[str, ...], list[Row], bool]:
    """Columns, whole rows, and whether that is all: of a row that was cut by a power failure, nothing is believed."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = tuple(reader.fieldnames or ())
        lines = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise _foreign(path) from error
    if not set(columns) >= _COMMON:
        raise _foreign(path)
    if cut := not text.endswith("\n"):
        lines = lines[:-1]
    rows = [row for row in lines if None not in row and None not in row.values()]
    later = dict.fromkeys(_LATER, "")
    decoded = [later | {name: cell.removeprefix("'") for name, cell in row.items()} for row in rows]
    return columns, decoded, not cut and len(rows) == len(lines)


def _foreign(path: Path) -> DelineateError:
    return DelineateError(
        f"{path} is no table of results as Delineate writes it (did a spreadsheet save it again?); "
        "move it away, or name another folder with --out"
    )


def _append(path: Path, line: bytes) -> None:
    """Add the whole line or, on a full disk, nothing of it."""
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            with suppress(OSError):
                file.truncate(before)
            raise
