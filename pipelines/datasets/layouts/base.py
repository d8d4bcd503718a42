"""What all layouts share: how items are found, and the pairing of names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ...core.errors import InputError
from ...core.files import denied
from ...imaging.filetypes import IMAGE_SUFFIXES, refuse_foreign
from ...imaging.item import Item

NO_MASK, NO_IMAGE = "image has no mask", "mask has no image"

Found = tuple[list[Item], list[InputError]]


class Layout(NamedTuple):
    """How a layout is recognised (``matches`` says by what, or nothing), described and read."""

    matches: Callable[[Path], str]
    needs: str
    read: Callable[[Path], Found]


def is_hidden(file: Path) -> bool:
    """Whether the system put it there, not a person."""
    return file.name.startswith(".") or file.name.lower() in {"thumbs.db", "desktop.ini", "__macosx"}


def is_picture(file: Path) -> bool:
    """Whether it is named like a picture, and not hidden."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(file)


def walk(source: Path) -> list[Path]:
    """The files at any depth, sorted; hidden ones, and linked or hidden folders, are left out.

    A folder that this user may not read stands for its files, so that it is refused where they would be.
    """
    found: list[Path] = []
    for folder, folders, names in os.walk(source):
        shown = [Path(folder, name) for name in folders if not is_hidden(Path(name))]
        closed = {path for path in shown if denied(path)}
        folders[:] = [path.name for path in shown if path not in closed]
        found += [*closed, *(Path(folder, name) for name in names if not is_hidden(Path(name)))]
    return sorted(found)


def list_pictures(folder: Path) -> tuple[list[Path], list[InputError]]:
    """The pictures of a folder, sorted, and what else is there and not hidden.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(folder, "does not exist", "check the folder, or name its layout with --layout")
    entries = [entry for entry in sorted(folder.iterdir()) if not is_hidden(entry)]
    pictures = [entry for entry in entries if is_picture(entry) and entry.is_file()]
    return pictures, [_not_an_image(entry) for entry in entries if entry not in set(pictures)]


def by_key(keyed: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Files by their keys."""
    files: dict[str, list[Path]] = {}
    for key, file in keyed:
        files.setdefault(key, []).append(file)
    return files


def pair(images: Mapping[str, list[Path]], masks: Mapping[str, list[Path]], several: bool = False) -> Found:
    """Pair images and masks of one key, which becomes the group.

    Args:
        images: by key.
        masks: by key.
        several: the masks of an image are its label together; else one is needed.
    """
    items: list[Item] = []
    refused: list[InputError] = []
    for key, files in images.items():
        labels = masks.get(key, [])
        if len(files) > 1:
            refused += [ambiguous(file, "image", files) for file in files]
        elif not labels:
            refused.append(InputError(files[0], NO_MASK, "add the mask, or remove the image"))
        elif len(labels) > 1 and not several:
            refused += [ambiguous(label, "mask", labels) for label in labels]
        else:
            items.append(Item.of(files[0], *labels, group=key))
    refused += [orphan(file) for key in masks.keys() - images.keys() for file in masks[key]]
    return items, sorted(refused, key=lambda error: error.source)


def orphan(mask: Path) -> InputError:
    """The refusal of a mask that has no image."""
    return InputError(mask, NO_IMAGE, "add the image, or remove the mask")


def are_of_one_name(one: str, other: str) -> bool:
    """Whether they are equal, or one goes on from the other: ``a``, ``a_mask``."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and not long[len(short) :][:1].isalnum()


def ambiguous(file: Path, what: str, files: list[Path]) -> InputError:
    """The refusal of one of several files between which nothing but their order could choose."""
    others = ", ".join(other.name for other in files if other != file)
    return InputError(file, f"is one of several {what}s of one name (also {others})", "keep one and remove the rest")


def _not_an_image(entry: Path) -> InputError:
    if error := denied(entry):
        return error
    if entry.is_dir():
        return InputError(entry, "is a folder in a folder of images; not searched", "move its files up, or remove it")
    kinds = ", ".join(sorted(IMAGE_SUFFIXES))
    other = InputError(entry, f"is not an image (needed is {kinds})", "convert it, or remove it")
    return refuse_foreign(entry) or other
