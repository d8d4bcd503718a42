"""Pictures in one folder, their masks in another."""

from __future__ import annotations

import re
from pathlib import Path

from .base import Found, Layout, by_key, is_picture, list_pictures, pair
from .dicom import DICOM
from .nifti import NIFTI
from .ph2 import PH2


def paired(source: Path) -> Found:
    """``images/`` and ``masks/``, flat; the group is the image's name.

    Names are equal up to extension, or the mask's ends in ``_mask`` or ``_segmentation``.
    """
    folders = _folders(source)
    images, skipped = list_pictures(folders["images"])
    masks, also_skipped = list_pictures(folders["masks"])
    stems = {image.stem for image in images}
    keyed = ((_key(mask.stem, stems), mask) for mask in masks)
    items, unpaired = pair(by_key((image.stem, image) for image in images), by_key(keyed))
    return items, skipped + also_skipped + unpaired


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing: also where these two folders hold PH2, volumes or DICOM files."""
    images, masks = _folders(source).values()
    if not (images.is_dir() and masks.is_dir()) or PH2.matches(masks):
        return ""
    pictures = any(map(is_picture, images.iterdir()))
    if not pictures and (NIFTI.matches(images) or DICOM.matches(images)):
        return ""
    return f"holds {images.name}/ and {masks.name}/"


def _folders(source: Path) -> dict[str, Path]:
    named = {entry.name.lower(): entry for entry in sorted(source.iterdir()) if entry.is_dir()}
    return {name: named.get(name, source / name) for name in ("images", "masks")}


def _key(stem: str, stems: set[str]) -> str:
    return stem if stem in stems else re.sub(r"_(mask|segmentation)$", "", stem, flags=re.I)


PAIRED = Layout(_matches, "images/ and masks/ with equal names", paired)
