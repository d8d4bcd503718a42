"""What is known of images beside their masks: fields of the data list, or columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ..core.errors import DelineateError, InputError, UnknownNameError
from ..datasets.datalist import Datalist
from ..datasets.layouts.table import read_table
from ..imaging.item import Item
from ..imaging.volumes.formats import volume_suffix
from .subgroups import SIZE

MOST_VALUES = 50
"""Of a column that divides images."""

_NO_COLUMNS = {"image", "label", "own_group", "area", "pixels_sha256", "image_sha256", "label_sha256", "label_is"}

Cells = Mapping[str, str]
Key = tuple[str, int | None, str | None]


class Columns:
    """The columns that subgroups are made of.

    Args:
        dataset_dir: the data set's folder, whose data list says what is known of its images.
        subgroups: names of columns, a list or a text with commas; ``class``, ``source`` and ``size`` by default.
        table: a CSV file, one of whose columns holds the images' file names, with or without suffix; its columns go
            before those of the data list.

    Raises:
        UnknownNameError: neither has a column of that name.
        DelineateError: a column has too many values, or a table is given without subgroups.
        InputError: the table names no image, or an image or a row is ambiguous.
    """

    def __init__(
        self,
        dataset_dir: str | Path,
        subgroups: str | Sequence[str] | None = None,
        table: str | Path | None = None,
    ) -> None:
        asked = subgroups.split(",") if isinstance(subgroups, str) else subgroups
        self.subgroups = None if asked is None else [str(name).strip() for name in asked if str(name).strip()]
        self.table = None if table is None else Path(table)
        self.missing: list[str] = []
        if self.table and not self.subgroups:
            names = ", ".join(read_table(self.table)[0])
            raise DelineateError(f"of {self.table} no column is named; name some with --subgroups, it has {names}")
        items = [item for _, item in Datalist.read(dataset_dir).labelled()] if self.subgroups else []
        rows = _joined(self.table, items) if self.table else {}
        self._known = {key_of(item): {**_fields(item), **rows.get(item.file, {})} for item in items}
        self._rows = rows
        for name in self._named():
            self._refuse_wrong(name)

    def of(self, item: Item, fields: Mapping[str, Any]) -> dict[str, str | None]:
        """What the columns say of an image; ``fields`` has what the evaluator's item says itself."""
        if self.table and item.file not in self._rows:
            self.missing.append(item.file.name)
        known = self._known.get(key_of(item), {})
        found = {name: known.get(_cell(name), fields.get(name)) for name in self._named()}
        return {name: None if value in (None, "") else str(value) for name, value in found.items()}

    def _named(self) -> list[str]:
        return [name for name in self.subgroups or () if name != SIZE]

    def _refuse_wrong(self, name: str) -> None:
        if not self._known:
            return
        values = {known[_cell(name)] for known in self._known.values() if known.get(_cell(name))}
        if not values:
            known = dict.fromkeys(column for of_image in self._known.values() for column in of_image)
            raise UnknownNameError("column", name, [*known, SIZE])
        if len(values) > MOST_VALUES:
            raise DelineateError(
                f"{name} has {len(values)} values; subgroups are of {MOST_VALUES} at most: write ranges or fewer names "
                "into a column of a table (--table)"
            )


def _cell(name: str) -> str:
    return name.casefold()


def key_of(item: Item) -> Key:
    """What names an image of a data set: the file, and of a volume or a series which slice of it."""
    return str(item.file), item.slice, item.series


def _fields(item: Item) -> dict[str, str]:
    """The fields of an item that divide images."""
    fields = item.as_fields()
    plain = {name: value for name, value in fields.items() if isinstance(value, str | int | float)}
    return {_cell(name): str(value) for name, value in plain.items() if name not in _NO_COLUMNS}


def _joined(table: Path, items: Sequence[Item]) -> dict[Path, Cells]:
    """The rows of a table by the image that they are of.

    The column that names most images is the one of their names.
    """
    columns, numbered = read_table(table)
    images = dict.fromkeys(item.file for item in items)
    found = {column: _matches(column, numbered, images) for column in columns}
    column = max(columns, key=lambda name: len(found[name]))
    if not found[column]:
        example = f", e.g. {next(iter(images)).name}" if images else ""
        raise InputError(table, f"has no column with the images' file names{example}", "add one to the table")
    rows: dict[Path, Cells] = {}
    of_rows: dict[int, Path] = {}
    for image, matching in found[column].items():
        numbers = ", ".join(str(number) for number, _ in matching)
        if len(matching) > 1:
            raise InputError(table, f"has the rows {numbers} for {image.name}", "leave one of them")
        number, cells = matching[0]
        if other := of_rows.get(number):
            raise InputError(
                table, f"row {number} is of both {other} and {image}", f"write folders into the column {column}"
            )
        rows[image], of_rows[number] = cells, image
    return rows


def _matches(
    column: str, numbered: Sequence[tuple[int, Cells]], images: Mapping[Path, Any]
) -> dict[Path, list[tuple[int, Cells]]]:
    """The rows that name each image in a column: by its file name, else by its name without suffix."""
    by_name: dict[str, list[tuple[PurePath, int, Cells]]] = {}
    for number, cells in numbered:
        if cells.get(column):
            path = PurePath(cells[column].replace("\\", "/"))
            by_name.setdefault(path.name, []).append((path, number, cells))
    found = {}
    for image in images:
        stem = image.name.removesuffix(volume_suffix(image) or image.suffix)
        for name in (image.name, stem):
            folders = image.parent.parts
            there = [
                (number, cells)
                for path, number, cells in by_name.get(name, ())
                if folders[len(folders) - len(path.parent.parts) :] == path.parent.parts
            ]
            if there:
                found[image] = there
                break
    return found
