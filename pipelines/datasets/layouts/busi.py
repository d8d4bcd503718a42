"""BUSI: breast ultrasound."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ...core.errors import InputError
from ...imaging.item import Item
from .base import Found, Layout, by_key, is_picture, list_pictures, pair


def busi(source: Path) -> Found:
    """BUSI breast ultrasound: ``source`` is ``Dataset_BUSI_with_GT`` or its parent.

    All masks of an image are its label; the class is kept as a field; the group is the image's name.
    """
    items: list[Item] = []
    refused: list[InputError] = []
    for folder in _folders(source):
        files, skipped = list_pictures(folder)
        names = {file: re.fullmatch(r"(.+?)_mask(_\d+)?", file.stem) for file in files}
        masks = by_key((match[1], file) for file, match in names.items() if match)
        images = by_key((file.stem, file) for file, match in names.items() if not match)
        found, unpaired = pair(images, masks, several=True)
        items += [replace(item, class_name=folder.name) for item in found]
        refused += skipped + unpaired
    return items, refused


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    folders = [folder for folder in _folders(source) if any(map(is_picture, folder.iterdir()))]
    return f"holds {', '.join(f'{folder.relative_to(source).as_posix()}/' for folder in folders)}" if folders else ""


def _folders(source: Path) -> list[Path]:
    inner = source / "Dataset_BUSI_with_GT"
    root = inner if inner.is_dir() else source
    return [root / name for name in ("benign", "malignant", "normal") if (root / name).is_dir()]


BUSI = Layout(_matches, "Dataset_BUSI_with_GT/{benign,malignant,normal}/", busi)
