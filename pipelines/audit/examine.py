"""One look at one item: decoded once, measured, forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.errors import InputError
from ..duplicates.search import Signature, signature
from ..imaging.item import Item
from ..imaging.overlay import draw_outline
from ..imaging.pictures import size_text
from ..imaging.reading import read_masks, read_picture
from ..imaging.structures import COLOURS, UNANNOTATED
from ..imaging.unchanged import refuse_changed
from ..imaging.volumes.slicing import Slicing
from .findings import Finding, Member, found
from .images import ImageFacts, measure_image
from .masks import MaskFacts, measure_mask

_THUMBNAIL, _SQUARE = 192, 192  # pixels


@dataclass(frozen=True)
class Examined:
    """What is kept of an item, about 20 kB.

    Attributes:
        member: the item.
        refusals: why its image or mask cannot be used.
        signature: of the image.
        image: its figures.
        masks: figures of the mask of each structure that somebody annotated, by its name.
        squeezed: the masks as (192, 192) bits, packed.
        thumbnail: a small JPEG of the image with the masks' outlines.
    """

    member: Member
    refusals: tuple[Finding, ...] = ()
    signature: Signature | None = None
    image: ImageFacts | None = None
    masks: Mapping[str, MaskFacts] = field(default_factory=dict)
    squeezed: Mapping[str, bytes] = field(default_factory=dict)
    thumbnail: bytes = b""

    def square_masks(self) -> dict[str, NDArray[np.uint8]]:
        """The masks squeezed to (192, 192), 0 or 1, by structure."""
        return {
            name: np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(_SQUARE, _SQUARE)
            for name, bits in self.squeezed.items()
        }


def examine_all(
    members: Sequence[Member], slicing: Slicing, progress: Callable[[int, int], None]
) -> Iterator[Examined]:
    """Examine items in their order, two at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:  # decoding leaves the interpreter free
        waiting: list[Future[Examined]] = [pool.submit(examine, member, slicing) for member in members]
        for done, result in enumerate(waiting, start=1):
            yield result.result()
            progress(done, len(members))


def examine(member: Member, slicing: Slicing) -> Examined:
    """Decode an item's files and measure them.

    Args:
        member: the item.
        slicing: how volumes become images.
    """
    item = member.item
    try:
        pixels = read_picture(item, slicing)
        refuse_changed(item.files, item.image_sha256)
    except InputError as error:
        return Examined(member, (found("image", "unreadable", [member], f"{error.reason}; {error.remedy}"),))
    masks: dict[str, NDArray[np.uint8]] = {}
    refusals = []
    try:
        masks = _annotated(item, slicing) if item.label else {}
        refuse_changed(item.label, item.label_sha256)
    except InputError as error:
        refusals = [found("mask", "unreadable", [member], f"{error.reason}; {error.remedy}")]
    first = next(iter(masks.values()), None)
    if first is not None and first.shape != pixels.shape[:2]:
        seen = f"mask is {size_text(first)}, image is {size_text(pixels)}"
        masks, refusals = {}, [found("mask", "size", [member], seen)]
    return Examined(
        member,
        tuple(refusals),
        signature(pixels),
        measure_image(pixels),
        {name: measure_mask(mask) for name, mask in masks.items()},
        {name: np.packbits(_resized(mask, (_SQUARE, _SQUARE))).tobytes() for name, mask in masks.items()},
        _thumbnail(pixels, list(masks.values())),
    )


def _annotated(item: Item, slicing: Slicing) -> dict[str, NDArray[np.uint8]]:
    """The masks that somebody drew, by structure; one without a name is called nothing."""
    names = list(item.structures)
    masks = dict(zip(names or [""], read_masks(item, names, slicing), strict=True))
    return {name: mask for name, mask in masks.items() if not (mask == UNANNOTATED).any()}


def _thumbnail(pixels: NDArray[np.uint8], masks: Sequence[NDArray[np.uint8]]) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    shown = np.asarray(image)
    for mask, colour in zip(masks, cycle(COLOURS), strict=False):
        shown = draw_outline(shown, _resized(mask, image.size), colour, width=2)
    buffer = BytesIO()
    Image.fromarray(shown).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _resized(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask of 0 and 1 on a grid of width x height."""
    return (np.asarray(Image.fromarray(mask * np.uint8(255)).resize(size, Image.Resampling.BOX)) > 127).astype(np.uint8)
