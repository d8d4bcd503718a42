"""Each file of a data set decoded once: what the data list says of an item, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..imaging.masks import is_jpeg, same_shape
from ..imaging.pictures import size_text
from ..imaging.reading import read_label, read_picture
from ..imaging.unchanged import content_hash
from ..imaging.volumes.slicing import Slicing
from .datalist import Entry
from .layouts import Item

if TYPE_CHECKING:
    from ..duplicates.search import Signature

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """An item whose files were decoded; blank images have no signature."""

    item: Item
    entry: Entry
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
        the entries of the data list to be, and a refusal of each other item.
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

    images = (item.image, *item.modalities)
    entry: Entry = {"image": _one_or_list(map(str, images))}
    if item.label:
        entry["label"] = _one_or_list(map(str, item.label))
    entry |= {"group": item.group, "own_group": item.group, **item.fields}  # groups may be joined, own ones never
    try:
        pixels = read_picture(entry, slicing)
        mask = None
        if item.label:
            mask, way = _read_mask(entry, item.label, pixels, slicing, resize)
            entry |= way
    except InputError as error:
        return error
    seen = None if (pixels == pixels[0, 0]).all() else signature(pixels)
    entry |= {"size": list(pixels.shape[:2]), "image_sha256": _one_or_list(map(hash_of, images))}
    if mask is not None:
        share = round(float(mask.mean()), 6)
        entry |= {"area": max(share, 1e-6) if mask.any() else 0.0}  # 0 says that there is nothing at all
        entry |= {"label_sha256": _one_or_list(map(hash_of, item.label))}
    return Checked(item, entry | ({"pixels_sha256": seen.sha256} if seen else {}), seen)


def _read_mask(
    entry: Entry, files: Sequence[Path], pixels: NDArray[np.uint8], slicing: Slicing, resize: bool
) -> tuple[NDArray[np.uint8], Entry]:
    """The mask of an image, and what the data list must say of it for everyone to read it so.

    Raises:
        InputError: it is read in none of the ways that are open to it.
    """
    size, plain = pixels.shape[:2], list[Entry]([{}])
    if not {"label_is", "label_values"} & entry.keys() and any(map(is_jpeg, files)):
        plain.append({"label_is": "jpeg"})
    ways = [*plain, *([one | {"label_size": list(size)} for one in plain] if resize else [])]
    for way in ways:
        try:
            mask = read_label(entry | way, slicing)
        except InputError:
            if way == ways[-1]:
                raise
        else:
            if mask.shape == size:
                return mask, way
    remedy = "take the mask drawn on this very image, or remove the pair"
    if same_shape(mask.shape, size):
        remedy += ", or have masks resized: --resize-masks"
    reason = f"image is {size_text(pixels)}, mask {files[0].name} is {size_text(mask)}"
    raise InputError(entry["image"], reason, remedy)


def _one_or_list(values: Iterable[str]) -> str | list[str]:
    """As data lists have it: one as it is, several as a list."""
    first, *rest = values
    return [first, *rest] if rest else first
