"""Readers of foreign folder layouts: each finds the pairs of image and masks, and names what it cannot pair.

They look at names only; `index` looks into the files. A new layout is a function and a line in `LAYOUTS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..images import IMAGE_SUFFIXES
from .splits import SPLITS, Split


@dataclass(frozen=True)
class Item:
    """One image, the masks whose union is its label, and what is known of it."""

    image: Path
    label: tuple[Path, ...]
    group: str
    fields: Mapping[str, str] = field(default_factory=dict)
    official: Split | None = None


Found = tuple[list[Item], list[InputError]]


class Layout(NamedTuple):
    """How a layout is recognised, described and read."""

    matches: Callable[[Path], bool]
    needs: str
    read: Callable[[Path], Found]


def isic(source: Path) -> Found:
    """ISIC 2016, 2017 and 2018 segmentation: ``source`` holds the unpacked folders. The group is the ISIC id.

    The official split is used where one year is there with training, validation and test; else all is pooled.
    """
    items: list[Item] = []
    refused: list[InputError] = []
    for split, images, masks in _isic_folders(source):
        if images.is_dir() and masks.is_dir():
            found, unpaired = _pair(_isic_images(images), _isic_masks(masks))
            items += [replace(item, official=split) for item in found]
            refused += unpaired
        elif images.is_dir() or masks.is_dir():
            there, missing = (images, masks) if images.is_dir() else (masks, images)
            remedy = f"unpack {missing.name} beside it, or index without it"
            refused.append(InputError(there, f"{missing.name} is missing", remedy))
    official = {item.official for item in items} == set(SPLITS) and len(_isic_years(source)) == 1
    return (items if official else [replace(item, official=None) for item in items]), refused


def busi(source: Path) -> Found:
    """BUSI breast ultrasound: ``source`` is ``Dataset_BUSI_with_GT`` or its parent.

    All masks of an image are its label; the class is kept as a field; the group is the image's name.
    """
    items: list[Item] = []
    refused: list[InputError] = []
    for folder in _busi_folders(source):
        files, skipped = _list_images(folder)
        names = {file: re.fullmatch(r"(.+?)_mask(_\d+)?", file.stem) for file in files}
        masks = _by_key((match[1], file) for file, match in names.items() if match)
        images = _by_key((file.stem, file) for file, match in names.items() if not match)
        found, unpaired = _pair(images, masks, several=True)
        items += [replace(item, fields={"class": folder.name}) for item in found]
        refused += skipped + unpaired
    return items, refused


def paired(source: Path) -> Found:
    """``images/`` and ``masks/``, flat; the group is the image's name.

    Names are equal up to extension, or the mask's ends in ``_mask`` or ``_segmentation``.
    """
    folders = _paired_folders(source)
    images, skipped = _list_images(folders["images"])
    masks, also_skipped = _list_images(folders["masks"])
    stems = {image.stem for image in images}
    keyed = ((_paired_key(mask.stem, stems), mask) for mask in masks)
    items, unpaired = _pair(_by_key((image.stem, image) for image in images), _by_key(keyed))
    return items, skipped + also_skipped + unpaired


def detect(source: Path) -> str:
    """The name of the layout that ``source`` has.

    Raises:
        InputError: ``source`` is no folder, is empty, or has no known layout, or more than one.
    """
    if not source.is_dir():
        raise InputError(source, "is not a folder" if source.exists() else "does not exist", "check the path")
    seen = sorted(entry.name for entry in source.iterdir() if not _is_hidden(entry))
    names = [name for name, layout in LAYOUTS.items() if layout.matches(source)]
    needs = "; ".join(f"{name}: {layout.needs}" for name, layout in LAYOUTS.items())
    if not seen:
        raise InputError(source, "is an empty folder", f"one of these layouts is needed: {needs}")
    if not names:
        some = ", ".join(seen[:5]) + (", ..." if len(seen) > 5 else "")
        raise InputError(source, f"has no known layout (it holds {some})", f"one of these is needed: {needs}")
    if len(names) > 1:
        raise InputError(source, f"has several layouts ({', '.join(names)})", "name one with --layout")
    return names[0]


_ISIC_YEARS = {
    "2016": ("ISBI2016_ISIC_Part1_{}_Data", "ISBI2016_ISIC_Part1_{}_GroundTruth"),
    "2017": ("ISIC-2017_{}_Data", "ISIC-2017_{}_Part1_GroundTruth"),
    "2018": ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth"),
}
_ISIC_SPLITS: dict[str, Split] = {
    "Training": "training",
    "Validation": "validation",
    "Test": "test",
    "Test_v2": "test",
}


def _isic_folders(source: Path) -> list[tuple[Split, Path, Path]]:
    """Split, image folder, mask folder: all that may be there."""
    return [
        (split, source / images.format(part), source / masks.format(part))
        for images, masks in _ISIC_YEARS.values()
        for part, split in _ISIC_SPLITS.items()
    ]


def _isic_years(source: Path) -> list[str]:
    names = {entry.name for entry in source.iterdir()}
    return [
        year
        for year, patterns in _ISIC_YEARS.items()
        if names & {pattern.format(part) for pattern in patterns for part in _ISIC_SPLITS}
    ]


def _isic_images(folder: Path) -> dict[str, list[Path]]:
    pictures = (file for file in sorted(folder.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES)
    return _by_key((file.stem, file) for file in pictures if re.fullmatch(r"ISIC_\d+(_downsampled)?", file.stem))


def _isic_masks(folder: Path) -> dict[str, list[Path]]:
    names = {file: re.fullmatch(r"(ISIC_.+)_segmentation\.png", file.name, re.I) for file in sorted(folder.iterdir())}
    return _by_key((match[1], file) for file, match in names.items() if match)


def _busi_folders(source: Path) -> list[Path]:
    inner = source / "Dataset_BUSI_with_GT"
    root = inner if inner.is_dir() else source
    return [root / name for name in ("benign", "malignant", "normal") if (root / name).is_dir()]


def _paired_folders(source: Path) -> dict[str, Path]:
    named = {entry.name.lower(): entry for entry in sorted(source.iterdir()) if entry.is_dir()}
    return {name: named.get(name, source / name) for name in ("images", "masks")}


def _paired_key(stem: str, stems: set[str]) -> str:
    return stem if stem in stems else re.sub(r"_(mask|segmentation)$", "", stem, flags=re.I)


def _is_hidden(file: Path) -> bool:
    return file.name.startswith(".") or file.name.lower() in {"thumbs.db", "desktop.ini", "__macosx"}


def _list_images(folder: Path) -> tuple[list[Path], list[InputError]]:
    """The image files of a folder, sorted, and what else is there and not hidden."""
    if not folder.is_dir():
        raise InputError(folder, "does not exist", "check the folder, or name its layout with --layout")
    entries = [entry for entry in sorted(folder.iterdir()) if not _is_hidden(entry)]
    images = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    return images, [_not_an_image(entry) for entry in entries if entry not in set(images)]


def _not_an_image(entry: Path) -> InputError:
    if entry.is_dir():
        return InputError(entry, "is a folder in a folder of images; not searched", "move its files up, or remove it")
    kinds = ", ".join(sorted(IMAGE_SUFFIXES))
    return InputError(entry, f"is not an image (needed is {kinds})", "convert it, or remove it")


def _by_key(keyed: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for key, file in keyed:
        files.setdefault(key, []).append(file)
    return files


def _pair(images: Mapping[str, list[Path]], masks: Mapping[str, list[Path]], several: bool = False) -> Found:
    """Pair images and masks of one key; ``several`` masks of an image are its label together."""
    items: list[Item] = []
    refused: list[InputError] = []
    for key, files in images.items():
        labels = masks.get(key, [])
        if len(files) > 1:
            refused += [_ambiguous(file, "image", files) for file in files]
        elif not labels:
            refused.append(InputError(files[0], "image has no mask", "add the mask, or remove the image"))
        elif len(labels) > 1 and not several:
            refused += [_ambiguous(label, "mask", labels) for label in labels]
        else:
            items.append(Item(files[0], tuple(labels), key))
    for key in masks.keys() - images.keys():
        refused += [InputError(file, "mask has no image", "add the image, or remove the mask") for file in masks[key]]
    return items, sorted(refused, key=lambda error: error.source)


def _ambiguous(file: Path, what: str, files: list[Path]) -> InputError:
    others = ", ".join(other.name for other in files if other != file)
    return InputError(file, f"is one of several {what}s of one name (also {others})", "keep one and remove the rest")


LAYOUTS: dict[str, Layout] = {
    "isic": Layout(
        lambda source: bool(_isic_years(source)),
        "ISIC2018_Task1-2_Training_Input/ with ISIC2018_Task1_Training_GroundTruth/, or as of 2016 or 2017",
        isic,
    ),
    "busi": Layout(lambda source: bool(_busi_folders(source)), "Dataset_BUSI_with_GT/{benign,malignant,normal}/", busi),
    "paired": Layout(
        lambda source: all(folder.is_dir() for folder in _paired_folders(source).values()),
        "images/ and masks/ with equal names",
        paired,
    ),
}
