"""STU-Hospital: breast ultrasound of Shantou University (https://doi.org/10.1371/journal.pone.0221535)."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.errors import InputError, counted
from .base import Found, Layout, by_key, list_pictures, pair


def stu(source: Path) -> Found:
    """STU-Hospital's ``Test_Image_N.png`` with ``mask_N.png``: ``source`` is ``Hospital`` or its parent.

    The group is the image; patients are not published. Written from the names in the public repository.
    """
    files, refused = list_pictures(_folder(source))
    images = by_key((f"Test_Image_{key}", file) for file in files if (key := _number(file, "test_image")))
    masks = by_key((f"Test_Image_{key}", file) for file in files if (key := _number(file, "mask")))
    known = {file for group in (images, masks) for named in group.values() for file in named}
    reason, remedy = "is not named Test_Image_N.png or mask_N.png", "rename it"
    refused += [InputError(file, reason, remedy) for file in files if file not in known]
    items, unpaired = pair(images, masks)
    return items, refused + unpaired


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    files = list(_folder(source).iterdir())
    both = {_number(file, "test_image") for file in files} & {_number(file, "mask") for file in files} - {""}
    return f"holds {counted(len(both), 'file')} Test_Image_N with mask_N" if both else ""


def _folder(source: Path) -> Path:
    return source / "Hospital" if (source / "Hospital").is_dir() else source


def _number(file: Path, word: str) -> str:
    match = re.fullmatch(rf"{word}_(\d+)\.(png|bmp|jpe?g)", file.name, re.I)
    return match[1] if match else ""


STU = Layout(_matches, "Hospital/ with Test_Image_N.png and mask_N.png", stu)
