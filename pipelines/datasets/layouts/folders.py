"""Where images and masks lie, by the names of folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...core.errors import InputError
from ...imaging.item import Split
from ...inference.result_table import own_files
from .base import is_hidden, is_picture
from .naming import separate_masks

_IMAGES = {"images", "image", "imgs", "img", "original", "originals", "frames", "photos"}
_MASKS = {
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annos", "gt", "groundtruth", "groundtruths"),
    *("segmentations", "segmentation", "seg", "segs"),
}
_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Place(NamedTuple):
    """Folders of images and of their masks, one folder where they lie side by side; of the official split ``part``.

    Where ``masks`` has a folder a structure, these are ``structures``.
    """

    images: Path
    masks: Path
    part: str = ""
    split: Split | None = None
    structures: tuple[Path, ...] = ()


def find_places(source: Path) -> list[Place]:
    """Where pictures and their masks lie; the first of these that is there.

    - ``images/`` and ``masks/``, by these or like names; in ``masks/`` there may be a folder a structure; a folder
      that Delineate wrote masks into may have any name;
    - images and masks side by side, which names tell apart;
    - one of both in ``train/``, ``val/``, ``test/``, or these within ``images/`` and ``masks/``: an official split.

    Raises:
        InputError: several folders may be that of the images, or that of the masks.
    """
    if place := _place(source):
        return [place]
    parts = [
        place._replace(part=folder.name, split=split)
        for folder, split in split_folders(source)
        if (place := _place(folder))
    ]
    return parts or list(_within(source))


def split_folders(source: Path) -> list[tuple[Path, Split]]:
    """The folders of an official split."""
    return [(folder, _SPLITS[key]) for folder in _subfolders(source) if (key := _key(folder)) in _SPLITS]


def _place(source: Path) -> Place | None:
    images, masks = _of_kind(source, _IMAGES, "images"), _of_kind(source, _MASKS, "masks") or results_folder(source)
    if images and masks and _pictures(masks):
        return Place(images, masks)
    if images and masks and (structures := structure_folders(masks)):
        return Place(images, masks, structures=structures)
    return Place(source, source) if separate_masks(_pictures(source))[1] else None


def _within(source: Path) -> Iterator[Place]:
    """``images/train`` with ``masks/train``, and so on."""
    folders = {_key(folder): folder for folder in _subfolders(source)}
    for images in (folders[key] for key in sorted(_IMAGES & folders.keys())):
        for masks in (folders[key] for key in sorted(_MASKS & folders.keys())):
            of_masks = {split: folder for folder, split in split_folders(masks)}
            for folder, split in split_folders(images):
                if split in of_masks and _pictures(of_masks[split]):
                    yield Place(folder, of_masks[split], folder.name, split)


def structure_folders(masks: Path) -> tuple[Path, ...]:
    """Folders of masks, one a structure."""
    return tuple(folder for folder in _subfolders(masks) if _key(folder) not in _SPLITS and list_masks(folder))


def list_masks(folder: Path) -> list[Path]:
    """The mask pictures of a folder, sorted; published ones are GIF at times."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_file() and not is_hidden(entry) and (is_picture(entry) or entry.suffix.lower() == ".gif")
    ]


def _of_kind(source: Path, names: set[str], what: str) -> Path | None:
    """The folder of that kind: the only one, else the only one with pictures."""
    folders = [folder for folder in _subfolders(source) if _key(folder) in names]
    if len(folders) > 1:
        folders = [folder for folder in folders if _pictures(folder)]
    if len(folders) > 1:
        several = ", ".join(f"{folder.name}/" for folder in folders)
        raise InputError(source, f"holds several folders of {what} ({several})", "leave one there and move the others")
    return folders[0] if folders else None


def results_folder(source: Path) -> Path | None:
    """The only folder that ``delineate segment`` wrote masks into, whatever it is called."""
    folders = [folder for folder in _subfolders(source) if _has_results(folder)]
    return folders[0] if len(folders) == 1 else None


def _has_results(folder: Path) -> bool:
    try:
        return bool(own_files(folder))
    except InputError:  # nobody may look into it: it is named where its files are read
        return False


def _subfolders(source: Path) -> list[Path]:
    return [entry for entry in sorted(source.iterdir()) if entry.is_dir() and not is_hidden(entry)]


def _pictures(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.iterdir()) if is_picture(entry) and entry.is_file()]


def _key(folder: Path) -> str:
    return re.sub(r"[ _-]", "", folder.name.lower())
