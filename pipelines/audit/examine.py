"""One look at one item: decoded once, measured, forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.errors import InputError
from ..duplicates.search import Signature, signature
from ..imaging.overlay import draw_outline
from ..imaging.pictures import size_text
from ..imaging.reading import read_label, read_picture
from ..imaging.unchanged import refuse_changed
from ..imaging.volumes.slicing import Slicing
from .findings import Finding, Member, found
from .images import ImageFacts, measure_image
from .masks import MaskFacts, measure_mask

_PATHS = ("image", "label")
_THUMBNAIL, _SQUARE = 192, 192  # pixels


@dataclass(frozen=True)
class Examined:
    """What is kept of an item, about 20 kB.

    Attributes:
        member: the item.
        refusals: why its image or mask cannot be used.
        signature: of the image.
        image: its figures.
        mask: figures of its mask.
        squeezed: the mask as (192, 192) bits, packed.
        thumbnail: a small JPEG of the image with the mask's outline.
    """

    member: Member
    refusals: tuple[Finding, ...] = ()
    signature: Signature | None = None
    image: ImageFacts | None = None
    mask: MaskFacts | None = None
    squeezed: bytes = b""
    thumbnail: bytes = b""

    def square_mask(self) -> NDArray[np.uint8] | None:
        """The mask squeezed to (192, 192), 0 or 1."""
        if self.mask is None:
            return None
        return np.unpackbits(np.frombuffer(self.squeezed, np.uint8)).reshape(_SQUARE, _SQUARE)


def examine_all(
    members: Sequence[Member], folder: Path, slicing: Slicing, progress: Callable[[int, int], None]
) -> Iterator[Examined]:
    """Examine items in their order, two at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:  # decoding leaves the interpreter free
        waiting: list[Future[Examined]] = [pool.submit(examine, member, folder, slicing) for member in members]
        for done, result in enumerate(waiting, start=1):
            yield result.result()
            progress(done, len(members))


def examine(member: Member, folder: Path, slicing: Slicing) -> Examined:
    """Decode an item's files and measure them.

    Args:
        member: the item.
        folder: what its relative paths start from.
        slicing: how volumes become images.
    """
    entry = {**member.entry, **{key: _located(member.entry[key], folder) for key in _PATHS if key in member.entry}}
    try:
        pixels = read_picture(entry, slicing)
        refuse_changed(entry["image"], entry.get("image_sha256"))
    except InputError as error:
        return Examined(member, (found("image", "unreadable", [member], f"{error.reason}; {error.remedy}"),))
    mask, refusals = None, []
    try:
        mask = read_label(entry, slicing) if "label" in entry else None
        if mask is not None:
            refuse_changed(entry["label"], entry.get("label_sha256"))
    except InputError as error:
        refusals = [found("mask", "unreadable", [member], f"{error.reason}; {error.remedy}")]
    if mask is not None and mask.shape != pixels.shape[:2]:
        told = f"mask is {size_text(mask)}, image is {size_text(pixels)}"
        mask, refusals = None, [found("mask", "size", [member], told)]
    return Examined(
        member,
        tuple(refusals),
        signature(pixels),
        measure_image(pixels),
        None if mask is None else measure_mask(mask),
        b"" if mask is None else np.packbits(_resized(mask, (_SQUARE, _SQUARE))).tobytes(),
        _thumbnail(pixels, mask),
    )


def _located(paths: Any, folder: Path) -> Any:
    """Paths, one or several, that are relative to the folder, as they are from here."""
    return str(folder / paths) if isinstance(paths, str) else [str(folder / path) for path in paths]


def _thumbnail(pixels: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    shown = np.asarray(image)
    if mask is not None:
        shown = draw_outline(shown, _resized(mask, image.size), width=2)
    buffer = BytesIO()
    Image.fromarray(shown).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _resized(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask of 0 and 1 on a grid of width x height."""
    return (np.asarray(Image.fromarray(mask * np.uint8(255)).resize(size, Image.Resampling.BOX)) > 127).astype(np.uint8)
