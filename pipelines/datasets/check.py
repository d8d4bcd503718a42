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

from ..core.errors import InputError
from ..imaging.item import Item
from ..imaging.masks import is_jpeg, same_shape
from ..imaging.pictures import size_text
from ..imaging.reading import read_masks, read_picture
from ..imaging.structures import UNANNOTATED
from ..imaging.unchanged import content_hash
from ..imaging.volumes.slicing import Slicing

if TYPE_CHECKING:
    from ..duplicates.search import Signature

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """An item whose files were decoded; blank images have no signature."""

    item: Item
    signature: Signature | None


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
        if item.label:
            item = _with_label(item, pixels, slicing, resize)
    except InputError as error:
        return error
    seen = None if (pixels == pixels[0, 0]).all() else signature(pixels)
    item = replace(
        item,
        image_sha256=tuple(map(hash_of, item.files)),
        label_sha256=tuple(map(hash_of, item.label)),
        pixels_sha256=seen.sha256 if seen else None,
    )
    return Checked(item, seen)


def _with_label(item: Item, pixels: NDArray[np.uint8], slicing: Slicing, resize: bool) -> Item:
    """The item with its areas, and with what it must say of its label for everyone to read it so.

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
                return _with_areas(way, names, masks)
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
    reason = f"image is {size_text(pixels)}, mask {item.label[0].name} is {size_text(mask)}"
    return InputError(item.file, reason, remedy)
