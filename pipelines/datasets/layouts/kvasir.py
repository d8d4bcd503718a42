"""Kvasir-SEG: polyps in colonoscopy (https://doi.org/10.1007/978-3-030-37734-2_37)."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.errors import NotedError
from .base import Found, Layout, is_hidden
from .folders import Place
from .paired import read_place

_TABLE = "kavsir_bboxes.json"  # as its publishers spell it


def kvasir(source: Path) -> Found:
    """Kvasir-SEG's ``images/`` and ``masks/`` of equal names, masks in JPEG; the group is the image.

    Which frames are of one video or patient is not published, so that no split can keep these together.
    """
    items, refused = read_place(Place(source / "images", source / "masks"))
    reason = "does not say which frames are of one patient, so each is its own group"
    return items, [*refused, NotedError(source, reason, "scores on it may be too high")]


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    folders = [source / "images", source / "masks"]
    if not all(folder.is_dir() for folder in folders):
        return ""
    images, masks = ({file.name for file in folder.iterdir() if not is_hidden(file)} for folder in folders)
    if not images or images != masks or not all(name.lower().endswith((".jpg", ".jpeg")) for name in images):
        return ""
    if (source / _TABLE).is_file() or all(re.fullmatch(r"cj[a-z0-9]{23}\.jpg", name) for name in images):
        return f"holds {len(images)} JPEG images and masks named as Kvasir-SEG's"
    if re.fullmatch(r"kvasir[ _-]?seg.*", source.name, re.I):
        return f"is called {source.name} and holds {len(images)} JPEG images and masks of equal names"
    return ""


KVASIR = Layout(_matches, f"Kvasir-SEG/ with images/ and masks/ in JPEG, or {_TABLE} beside these", kvasir)
