"""A table that names images and labels."""

from __future__ import annotations

import csv
import os
from io import StringIO
from pathlib import Path

from ...core.errors import InputError, NotedError, permission_denied
from ...imaging.item import Drawn, Item, Split
from ..splitting.splits import SPLITS
from .base import Found, Layout, is_hidden

_COLUMNS = ("image", "label", "group", "split", "class")
_SPLIT_NAMES: dict[str, Split] = {**{split: split for split in SPLITS}, "train": "training", "val": "validation"}
_OF = "label:"  # and a structure
_ABSENT = "-"
_NEEDED = "name its columns image, label (or label:NAME for each structure) and, where known, group, split, class"

EXCESS = "cells without a column"

Row = dict[str, str]


def table(source: Path) -> Found:
    """A CSV file with the columns ``image``, ``label``, ``group``, ``split``, ``class``: ``source``, or alone in it.

    Paths are relative to the table. A label may be empty (unlabelled) or several paths, separated by ``;``. In place of
    ``label`` there may be a column ``label:NAME`` for each structure; empty means that nobody annotated it, ``-`` that
    there is none of it. Without a group, the image's path is its own. A split is ``training``, ``validation`` or
    ``test``.

    Raises:
        InputError: the table cannot be read, or has no column ``image`` or ``label``.
    """
    file = _table(source)
    columns, rows = read_table(file)
    if missing := _missing(columns):
        raise InputError(file, f"has no column {missing} (it has {', '.join(columns)})", _NEEDED)
    items: list[Item] = []
    refused: list[InputError] = _unused(file, columns)
    seen: dict[Path, int] = {}
    has_splits = any(row.get("split") for _, row in rows)
    for number, row in rows:
        try:
            item = _item(file.parent, row, has_splits)
            if item.file in seen:
                raise ValueError(f"repeats the image of row {seen[item.file]}")
        except ValueError as error:
            refused.append(InputError(file, f"row {number} {error}", "correct the row, or remove it"))
        else:
            seen[item.file] = number
            items.append(item)
    return items, refused


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    try:
        columns, _ = read_table(_table(source))
    except InputError:
        return ""
    labels = [column for column in columns if column == "label" or column.startswith(_OF)]
    return "" if _missing(columns) else f"{_table(source).name} has the columns image and {', '.join(labels)}"


def _missing(columns: list[str]) -> str:
    """The column that a table lacks; nothing where it has all it needs."""
    if "image" not in columns:
        return "image"
    return "" if any(column == "label" or column.startswith(_OF) for column in columns) else "label"


def read_table(file: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    """A table in CSV: the delimiter is the commonest of comma, semicolon and tab in its first line.

    Returns:
        column names, in lower case; line number and cells of each row that has any. Cells beyond the last column are
        together in the column `EXCESS`.

    Raises:
        InputError: it is missing, no UTF-8 text, or has no column names or one twice.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(file, "does not exist", "check the path") from None
    except PermissionError as error:
        raise permission_denied(file) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(file, "cannot be read as UTF-8 text", "save it as CSV in UTF-8") from error
    first = text.partition("\n")[0]
    reader = csv.DictReader(StringIO(text), delimiter=max(",;\t", key=first.count), restkey=EXCESS, restval="")
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        rows = [(reader.line_num, {name: "".join(cells).strip() for name, cells in row.items()}) for row in reader]
    except csv.Error as error:
        raise InputError(file, f"is no CSV table ({error})", "save it as CSV in UTF-8") from error
    names = list(filter(None, columns))
    if not names or len(set(names)) < len(names):
        raise InputError(file, f"has no column names, or one of them twice ({', '.join(names)})", _NEEDED)
    return names, [(number, row) for number, row in rows if any(row.values())]


def _table(source: Path) -> Path:
    """The table itself, or the only one in a folder.

    Raises:
        InputError: there is none, or more than one.
    """
    if not source.is_dir():
        return source
    tables = [file for file in sorted(source.iterdir()) if file.suffix.lower() == ".csv" and not is_hidden(file)]
    if len(tables) != 1:
        raise InputError(source, f"holds {len(tables)} CSV files", "name the table itself")
    return tables[0]


def _unused(file: Path, columns: list[str]) -> list[InputError]:
    unused = [column for column in columns if column not in _COLUMNS and not column.startswith(_OF)]
    reason = f"columns not used: {', '.join(unused)}"
    return [NotedError(file, reason, f"used are {', '.join(_COLUMNS)}")] if unused else []


def _item(folder: Path, row: Row, has_splits: bool) -> Item:
    """An item from a row.

    Raises:
        ValueError: a cell is wrong; the message goes on from ``row 7``.
    """
    if row.get(EXCESS):
        raise ValueError("has more cells than there are columns")
    labels = [_file(folder, name, "label") for name in row.get("label", "").split(";") if name.strip()]
    structures: dict[str, Drawn | None] = {}
    for column in (column for column in row if column.startswith(_OF)):
        files = [_file(folder, name, column) for name in row[column].split(";") if name.strip() not in ("", _ABSENT)]
        positions = tuple(range(len(labels), len(labels) + len(files)))
        structures[column.removeprefix(_OF).strip()] = Drawn(positions) if row[column] else None
        labels += files
    split = row.get("split", "")
    if split.lower() not in _SPLIT_NAMES and (split or (has_splits and labels)):
        raise ValueError(f"has the split {split!r} (known are {', '.join(_SPLIT_NAMES)})")
    return Item.of(
        _file(folder, row["image"], "image"),
        *labels,
        group=row.get("group") or os.path.splitext(row["image"])[0],
        class_name=row.get("class", ""),
        official=_SPLIT_NAMES.get(split.lower()),
        structures=structures if any(structures.values()) else {},
    )


def _file(folder: Path, name: str, column: str) -> Path:
    path = Path(os.path.normpath(folder / name.strip().replace("\\", "/")))
    if not os.path.isfile(path):  # a Path's own raises for a name that is too long
        raise ValueError(f"has the {column} {name.strip()!r}, which is no file")
    return path


CSV = Layout(_matches, "a table.csv with the columns image and label", table)
