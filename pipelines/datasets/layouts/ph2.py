"""PH2: dermoscopy (https://doi.org/10.1109/EMBC.2013.6610779)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ...core.errors import counted
from ...imaging.item import Item
from .base import Found, Layout, by_key, is_picture, pair, walk

_CLASSES = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}


def ph2(source: Path) -> Found:
    """PH2's ``IMD002.bmp`` with ``IMD002_lesion.bmp``, at any depth of ``source``. The group is the image's name.

    The class is the clinical diagnosis in ``PH2_dataset.txt``, where that is there. Regions of single colours
    (``IMD002_roi/``) are passed over.
    """
    files = walk(source)
    keys = {file: _key(file) for file in files if _key(file)}
    images = by_key((key, file) for file, key in keys.items() if key == file.stem)
    masks = by_key((key, file) for file, key in keys.items() if key != file.stem)
    items, refused = pair(images, masks)
    classes = _classes([file for file in files if file.name == "PH2_dataset.txt"])
    return [_described(item, classes) for item in items], refused


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    found = sum(_key(file) not in ("", file.stem) for file in walk(source))
    return f"holds {counted(found, 'file')} IMDnnn_lesion" if found else ""


def _key(file: Path) -> str:
    match = re.fullmatch(r"(IMD\d+)(_lesion)?", file.stem) if is_picture(file) else None
    return match[1] if match else ""


def _described(item: Item, classes: dict[str, str]) -> Item:
    return replace(item, class_name=classes.get(item.group, ""))


def _classes(tables: list[Path]) -> dict[str, str]:
    """The third column of ``|| Name || Histological Diagnosis || Clinical Diagnosis || ...``."""
    text = "\n".join(table.read_text(encoding="utf-8", errors="replace") for table in tables)
    rows = re.findall(r"^\|\|\s*(IMD\d+)\s*\|\|[^|\n]*\|\|\s*([012])\s*\|\|", text, re.M)
    return {name: _CLASSES[number] for name, number in rows}


PH2 = Layout(_matches, "IMDnnn.bmp with IMDnnn_lesion.bmp, at any depth", ph2)
