"""ISIC challenges of 2016, 2017 and 2018: dermoscopy, lesion segmentation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ...core.errors import InputError
from ...imaging.item import Item, Split
from ..splitting.splits import SPLITS
from .base import Found, Layout, by_key, is_picture, pair

_YEARS = {
    "2016": ("ISBI2016_ISIC_Part1_{}_Data", "ISBI2016_ISIC_Part1_{}_GroundTruth"),
    "2017": ("ISIC-2017_{}_Data", "ISIC-2017_{}_Part1_GroundTruth"),
    "2018": ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth"),
}
_SPLITS: dict[str, Split] = {
    "Training": "training",
    "Validation": "validation",
    "Test": "test",
    "Test_v2": "test",
}


def isic(source: Path) -> Found:
    """ISIC 2016, 2017 and 2018 segmentation: ``source`` holds the unpacked folders. The group is the ISIC id.

    The official split is used where one year is there with training, validation and test; else all is pooled.
    """
    items: list[Item] = []
    refused: list[InputError] = []
    for split, images, masks in _folders(source):
        if images.is_dir() and masks.is_dir():
            found, unpaired = pair(_images(images), _masks(masks))
            items += [replace(item, official=split) for item in found]
            refused += unpaired
        elif images.is_dir() or masks.is_dir():
            there, missing = (images, masks) if images.is_dir() else (masks, images)
            remedy = f"unpack {missing.name} beside it, or index without it"
            refused.append(InputError(there, f"{missing.name} is missing", remedy))
    official = {item.official for item in items} == set(SPLITS) and len(_years(source)) == 1
    return (items if official else [replace(item, official=None) for item in items]), refused


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    years = _years(source)
    return f"holds folders of ISIC {', '.join(years)}" if years else ""


def _folders(source: Path) -> list[tuple[Split, Path, Path]]:
    """Split, image folder, mask folder: all that may be there."""
    return [
        (split, source / images.format(part), source / masks.format(part))
        for images, masks in _YEARS.values()
        for part, split in _SPLITS.items()
    ]


def _years(source: Path) -> list[str]:
    names = {entry.name for entry in source.iterdir()}
    return [
        year
        for year, patterns in _YEARS.items()
        if names & {pattern.format(part) for pattern in patterns for part in _SPLITS}
    ]


def _images(folder: Path) -> dict[str, list[Path]]:
    pictures = filter(is_picture, sorted(folder.iterdir()))
    return by_key((file.stem, file) for file in pictures if re.fullmatch(r"ISIC_\d+(_downsampled)?", file.stem))


def _masks(folder: Path) -> dict[str, list[Path]]:
    names = {file: re.fullmatch(r"(ISIC_.+)_segmentation\.png", file.name, re.I) for file in sorted(folder.iterdir())}
    return by_key((match[1], file) for file, match in names.items() if match)


ISIC = Layout(
    _matches,
    "ISIC2018_Task1-2_Training_Input/ with ISIC2018_Task1_Training_GroundTruth/, or as of 2016 or 2017",
    isic,
)
