"""BUS-BRA: breast ultrasound, several images a patient (https://doi.org/10.1002/mp.16812)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...core.errors import InputError, NotedError, counted
from ...imaging.item import Item
from .base import Found, Layout
from .folders import find_places
from .paired import read_place
from .table import read_table

_TABLE = "bus_data.csv"
_NAME = re.compile(r"bus_(\d+)-[a-z]+", re.I)


class _Row(NamedTuple):
    """What the table says of an image."""

    case: str
    pathology: str
    device: str


def busbra(source: Path) -> Found:
    """BUS-BRA's ``Images/bus_0001-l.png`` with ``Masks/mask_0001-l.png``; the group is the patient, ``Case``.

    The class is the pathology in ``bus_data.csv``; the device is kept. An image without a row there has neither, and
    its number for a patient, which is what the table says for all of the published set.
    """
    rows, remarks = _rows(source / _TABLE)
    items: list[Item] = []
    refused: list[InputError] = []
    for place in find_places(source):
        found, errors = read_place(place)
        items += [_described(item, rows) for item in found]
        refused += errors
    if rows:
        remarks += [_without_row(item.file) for item in items if item.file.stem not in rows]
    return items, refused + remarks


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    try:
        places = find_places(source)
    except InputError:
        return ""
    named = sum(bool(_NAME.fullmatch(file.stem)) for place in places for file in place.images.iterdir())
    return f"holds {counted(named, 'file')} bus_NNNN-X with masks" if named else ""


def _rows(table: Path) -> tuple[dict[str, _Row], list[InputError]]:
    """By the image's name; a remark where there are none."""
    try:
        columns, rows = read_table(table)
        if not {"id", "case"} <= set(columns):
            raise InputError(table, "has no columns ID and Case", "take it from the published set")
    except InputError as error:
        reason = f"{error.reason}: no image has a class, and its number stands for the patient"
        return {}, [NotedError(table, reason, error.remedy)]
    return {
        row["id"]: _Row(_number(row["case"]), row.get("pathology", ""), row.get("device", "")) for _, row in rows
    }, []


def _described(item: Item, rows: Mapping[str, _Row]) -> Item:
    row = rows.get(item.file.stem)
    match = _NAME.fullmatch(item.file.stem)
    case = row.case if row else _number(match[1]) if match else item.group
    device = {"device": row.device} if row and row.device else {}
    return replace(item, group=f"patient {case}", class_name=row.pathology if row else "", more=device)


def _number(text: str) -> str:
    return text.lstrip("0") or text


def _without_row(image: Path) -> NotedError:
    reason = f"has no row in {_TABLE}: indexed without class, by its number as patient"
    return NotedError(image, reason, "add its row")


BUSBRA = Layout(_matches, "Images/bus_NNNN-X.png with Masks/mask_NNNN-X.png, and bus_data.csv", busbra)
