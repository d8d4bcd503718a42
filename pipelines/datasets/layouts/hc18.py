"""HC18: fetal heads in ultrasound (https://doi.org/10.5281/zenodo.1322001)."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from ...core.errors import InputError, NotedError, SkippedError, counted
from ...imaging.item import Item
from .base import Found, Layout, by_key, list_pictures, pair
from .table import read_table

_TABLE = "training_set_pixel_size_and_HC.csv"


def hc18(source: Path) -> Found:
    """HC18's ``training_set``: ``source`` is that folder or its parent. The group is the pregnancy.

    The label is the contour of an ellipse, to be filled. The pixel size is in the table that comes with it; an image
    without a row there has no spacing. ``test_set`` has no annotations and is passed over.
    """
    folder = _folder(source)
    files, refused = list_pictures(folder)
    annotations = by_key((file.stem[: -len("_Annotation")], file) for file in files if _is_annotation(file))
    images = by_key((file.stem, file) for file in files if not _is_annotation(file))
    items, unpaired = pair(images, annotations)
    sizes, remarks = _pixel_sizes(folder.parent / _TABLE)
    if sizes:
        remarks += [_without_size(item.file) for item in items if item.file.name not in sizes]
    if (source / "test_set").is_dir():
        remarks.append(SkippedError(source / "test_set", "has no annotations; passed over", "nothing to do"))
    return [_described(item, sizes) for item in items], refused + unpaired + remarks


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    found = sum(bool(re.fullmatch(r"\d+_\d*HC_Annotation\.png", file.name)) for file in _folder(source).iterdir())
    return f"holds {counted(found, 'file')} NNN_HC_Annotation.png" if found else ""


def _folder(source: Path) -> Path:
    return source / "training_set" if (source / "training_set").is_dir() else source


def _is_annotation(file: Path) -> bool:
    return file.stem.endswith("_Annotation")


def _described(item: Item, sizes: dict[str, float]) -> Item:
    size = sizes.get(item.file.name)
    spacing = (size, size) if size else None
    return replace(item, group=f"pregnancy {item.group.split('_')[0]}", label_is="outline", spacing=spacing)


def _pixel_sizes(table: Path) -> tuple[dict[str, float], list[InputError]]:
    """Pixel sizes in mm by file name; remarks where there are none."""
    try:
        columns, rows = read_table(table)
    except InputError as error:
        return {}, [NotedError(table, f"{error.reason}: no image has a spacing", error.remedy)]
    size = next((column for column in columns if column.startswith("pixel size")), "")
    sizes = {row.get("filename", ""): _millimetres(row.get(size, "")) for _, row in rows}
    return {name: value for name, value in sizes.items() if value}, []


def _millimetres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if value > 0 and math.isfinite(value) else 0.0


def _without_size(image: Path) -> NotedError:
    return NotedError(image, f"has no pixel size in {_TABLE}: indexed without spacing", "add its row, in mm")


HC18 = Layout(_matches, "training_set/ with NNN_HC.png and NNN_HC_Annotation.png", hc18)
