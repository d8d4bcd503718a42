"""Each file of a data set decoded once: what the data list says of an item, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError, counted
from ..imaging.filetypes import IMAGE_SUFFIXES
from ..imaging.item import Item
from ..imaging.masks import is_jpeg, same_shape
from ..imaging.pictures import is_turned, size_text
from ..imaging.reading import read_masks, read_picture
from ..imaging.structures import UNANNOTATED
from ..imaging.unchanged import content_hash
from ..imaging.volumes.slicing import Slicing

if TYPE_CHECKING:
    from ..duplicates.search import Signature

_NAMED = 5  # files in a note

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """An item whose files were decoded.

    Attributes:
        item: as the data list is to have it.
        signature: of the image; blank ones have none.
        is_turned: whether the image is turned by its EXIF orientation, and the mask by none.
        seems_inverted: whether the mask covers most of the image and nearly all of its border.
    """

    item: Item
    signature: Signature | None
    is_turned: bool = False
    seems_inverted: bool = False


def check_all(
    items: Sequence[Item], slicing: Slicing, resize: bool, progress: Progress
) -> tuple[list[Checked], list[InputError]]:
    """Decode the files of each item, two at a time.

    Args:
        items: as layouts give them.
        slicing: how volumes become images.
        resize: whether masks of another size, but the same proportions, are resized to their image's.
        progress: called with the numbers of items done and of all items.

    Returns:
        the items as the data list is to have them, and a refusal of each other item.
    """
    checked: list[Checked] = []
    refused: list[InputError] = []
    check = partial(_check, slicing=slicing, resize=resize, hash_of=lru_cache(maxsize=None)(content_hash))
    with ThreadPoolExecutor(max_workers=2) as pool:  # decoding leaves the interpreter free
        for done, result in enumerate(pool.map(check, items), start=1):
            if isinstance(result, InputError):
                refused.append(result)
            else:
                checked.append(result)
            progress(done, len(items))
    return checked, refused


def _check(item: Item, slicing: Slicing, resize: bool, hash_of: Callable[[Path], str]) -> Checked | InputError:
    """Decode an item's files, compare their sizes, and note how its label is to be read."""
    from ..duplicates.search import signature

    try:
        pixels = read_picture(item, slicing)
        height, width = pixels.shape[:2]
        item = replace(item, size=(height, width), own_group=item.group)  # groups may be joined, own ones never
        inverted = False
        if item.label:
            item, masks = _with_label(item, pixels, slicing, resize)
            inverted = len(masks) == 1 and seems_inverted(masks[0])
    except InputError as error:
        return error
    seen = None if (pixels == pixels[0, 0]).all() else signature(pixels)
    item = replace(
        item,
        image_sha256=tuple(map(hash_of, item.files)),
        label_sha256=tuple(map(hash_of, item.label)),
        pixels_sha256=seen.sha256 if seen else None,
    )
    return Checked(item, seen, _turned_alone(item), inverted)


def _turned_alone(item: Item) -> bool:
    """Whether the image's EXIF orientation turns it, and none its masks."""
    pictures = all(path.suffix.lower() in IMAGE_SUFFIXES for path in (*item.files, *item.label))
    return bool(item.label) and pictures and is_turned(item.file) and not any(map(is_turned, item.label))


def seems_inverted(mask: NDArray[np.uint8]) -> bool:
    """Whether a mask (H, W) of 0 and 1 covers more than half of the image and nine tenths of its border."""
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return bool((mask == 1).mean() > 0.5 and (border == 1).mean() > 0.9)


def _with_label(
    item: Item, pixels: NDArray[np.uint8], slicing: Slicing, resize: bool
) -> tuple[Item, NDArray[np.uint8]]:
    """The item with its areas, and with what it must say of its label for everyone to read it so; and its masks.

    Raises:
        InputError: it is read in none of the ways that are open to it.
    """
    names = list(item.structures)
    for way in _ways(item, resize):
        try:
            masks = read_masks(way, names, slicing)
        except InputError as error:
            refusal = error
        else:
            if masks.shape[1:] == item.size:
                return _with_areas(way, names, masks), masks
            refusal = _of_other_size(item, pixels, masks[0])
    raise refusal


def _ways(item: Item, resize: bool) -> list[Item]:
    """The item with each way in which its label may be read, the plainest first."""
    ways = [item]
    if item.label_is is None and item.label_values is None and any(map(is_jpeg, item.label)):
        ways.append(replace(item, label_is="jpeg"))
    return [*ways, *([replace(one, label_size=item.size) for one in ways] if resize else [])]


def _with_areas(item: Item, names: Sequence[str], masks: NDArray[np.uint8]) -> Item:
    item = replace(item, area=_area((masks == 1).any(axis=0)))
    if not names:  # one structure, whose area this is
        return item
    shares = [None if (mask == UNANNOTATED).any() else _area(mask) for mask in masks]
    return replace(item, areas=dict(zip(names, shares, strict=True)))


def _area(mask: NDArray[np.uint8 | np.bool_]) -> float:
    """The share of the image; 0 says that there is nothing at all."""
    return max(round(float(mask.mean()), 6), 1e-6) if mask.any() else 0.0


def _of_other_size(item: Item, pixels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> InputError:
    remedy = "take the mask drawn on this very image, or remove the pair"
    if same_shape(mask.shape, pixels.shape):
        remedy += ", or have masks resized: --resize-masks"
    image = f"image is {size_text(pixels)}"
    if mask.shape == pixels.shape[1::-1] and _turned_alone(item):
        image += " as its EXIF orientation turns it"
        remedy = "draw or turn the mask as viewers show the image"
    reason = f"{image}, mask {item.label[0].name} is {size_text(mask)}"
    return InputError(item.file, reason, remedy)


def notes_of_checks(checked: Sequence[Checked]) -> list[str]:
    """What is to be looked at: masks that may lie otherwise than their image, or say the contrary."""
    notes = []
    if turned := [one.item.file.name for one in checked if one.is_turned]:
        names = ", ".join(turned[:_NAMED]) + (", ..." if len(turned) > _NAMED else "")
        notes.append(
            f"{counted(len(turned), 'image')} turned by the EXIF orientation, whose masks are taken as drawn on what "
            f"viewers show; look at them (delineate data audit): {names}"
        )
    labelled = sum(bool(one.item.label) for one in checked)
    inverted = sum(one.seems_inverted for one in checked)
    if 2 * inverted > labelled:
        notes.append(
            f"{inverted} of {counted(labelled, 'mask')} cover most of the image and its border: white is what is "
            "outlined; if it is the background here, invert the masks"
        )
    return notes
