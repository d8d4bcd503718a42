"""The mark in the masks that Delineate draws, by which they are known wherever they are copied to.

It stands in what each format has for remarks: a text chunk of PNG, ``descrip`` of NIfTI, a key of NRRD and MetaImage.
"""

from __future__ import annotations

import gzip
import re
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core.errors import InputError

KEY = "delineate-mask"
_ENDINGS = (".png", ".nii", ".nii.gz", ".nrrd", ".mha")
_MARK = re.compile(KEY.encode() + rb"[\0 :=]{1,4}([0-9a-f]{64})")
_HEADER = 4096  # bytes, in which all formats have their remarks


def mark_of(pixels: NDArray[Any]) -> str:
    """What is written: the SHA-256, in hex, of shape and pixels, (H, W) or (I, J, K), uint8."""
    return sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def read_mark(path: Path) -> str | None:
    """The mark that a file has, changed since or not; ``None`` where it has none, or cannot be read."""
    name = path.name.lower()
    if not name.endswith(_ENDINGS):
        return None
    try:
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            found = _MARK.search(file.read(_HEADER))
    except (OSError, EOFError, zlib.error):
        return None
    return found[1].decode() if found else None


def is_as_drawn(path: Path, mark: str) -> bool:
    """Whether the pixels of a file are still those of its mark; false where they cannot be read."""
    try:
        pixels = _pixels(path)
    except (OSError, SyntaxError, InputError):  # Pillow's SyntaxError: a damaged PNG
        return False
    return mark_of(pixels) == mark


def _pixels(path: Path) -> NDArray[Any]:
    if path.suffix.lower() == ".png":
        with Image.open(path) as image:
            return np.asarray(image)
    from ..volumes.cache import cached_volume  # late: of pictures alone nobody needs a library of volumes

    return np.asarray(cached_volume(path).voxels).astype(np.uint8)
