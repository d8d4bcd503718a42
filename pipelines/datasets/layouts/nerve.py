"""Ultrasound Nerve Segmentation, a Kaggle competition of 2016: the brachial plexus."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ...core.errors import InputError, SkippedError, counted
from .base import Found, Layout, by_key, list_pictures, pair


def nerve(source: Path) -> Found:
    """Kaggle's ``N_M.tif`` with ``N_M_mask.tif``: ``source`` is ``train`` or its parent. The group is the subject, N.

    About half of the masks are empty: no nerve is seen. ``test`` has no masks and is passed over.
    """
    files, refused = list_pictures(_folder(source))
    keys = {file: _key(file) for file in files}
    images = by_key((key, file) for file, key in keys.items() if key == file.stem)
    masks = by_key((key, file) for file, key in keys.items() if key and key != file.stem)
    items, unpaired = pair(images, masks)
    refused += [
        InputError(file, "is not named N_M.tif or N_M_mask.tif", "rename it") for file in files if not keys[file]
    ]
    if (source / "test").is_dir():
        refused.append(SkippedError(source / "test", "has no masks; passed over", "nothing to do"))
    return [replace(item, group=f"subject {item.group.split('_')[0]}") for item in items], refused + unpaired


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    names = {file.name for file in _folder(source).iterdir()}
    masks = [name for name in names if re.fullmatch(r"\d+_\d+_mask\.tiff?", name, re.I)]
    found = sum(name.replace("_mask", "") in names for name in masks)
    return f"holds {counted(found, 'file')} N_M.tif with N_M_mask.tif" if found else ""


def _folder(source: Path) -> Path:
    return source / "train" if (source / "train").is_dir() else source


def _key(file: Path) -> str:
    match = re.fullmatch(r"(\d+_\d+)(_mask)?\.tiff?", file.name, re.I)
    return match[1] if match else ""


NERVE = Layout(_matches, "train/ with N_M.tif and N_M_mask.tif", nerve)
