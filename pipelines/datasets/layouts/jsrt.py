"""JSRT chest radiographs with the masks of SCR (https://doi.org/10.1016/j.media.2005.02.002)."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.errors import InputError
from .base import NO_MASK, Found, Layout, is_picture, orphan, walk
from .paired import with_structures

_NAME = re.compile(r"JPC(LN|NN)\d{3}", re.I)
_RAW = "is JSRT's raw form (2048x2048, 12 bit, no header), which is not read"


def jsrt(source: Path) -> Found:
    """Images ``JPCLN001.png`` ... anywhere, masks in ``masks/{heart,left lung,...}/JPCLN001.gif`` of one or both folds.

    The group is the image: JSRT has one of each patient. The masks are smaller than JSRT's images (1024x1024), so these
    are indexed with ``--resize-masks`` unless they are as small.
    """
    files = [file for file in walk(source) if _NAME.fullmatch(file.stem)]
    images = {file.stem.upper(): file for file in files if not _structure(file) and is_picture(file)}
    masks: dict[str, dict[str, Path]] = {}
    for file in files:
        if name := _structure(file):
            masks.setdefault(file.stem.upper(), {})[name] = file
    raw = [file for file in files if file.suffix.lower() == ".img"]
    refused = [InputError(file, _RAW, "convert it to PNG: docs/structures.md") for file in raw]
    refused += [
        InputError(images[key], NO_MASK, "add one, or remove the image") for key in images.keys() - masks.keys()
    ]
    converted = images.keys() | {file.stem.upper() for file in raw}
    refused += [orphan(file) for key in masks.keys() - converted for file in masks[key].values()]
    items = [with_structures(images[key], masks[key]) for key in sorted(images.keys() & masks.keys())]
    return items, sorted(refused, key=lambda error: error.source)


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    names = {name for file in walk(source) if (name := _structure(file)) and _NAME.fullmatch(file.stem)}
    return f"holds masks named as SCR's of {', '.join(sorted(names))}" if names else ""


def _structure(mask: Path) -> str:
    """What a mask is of, by its folder in ``masks/``; nothing of any other file."""
    folder = mask.parent
    return folder.name.replace("_", " ") if folder.parent.name.lower() == "masks" else ""


JSRT = Layout(_matches, "images JPCLN001.png ... with masks/{heart,left lung,...}/JPCLN001.gif, as of SCR", jsrt)
