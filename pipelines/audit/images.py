"""What is odd about images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .findings import Finding, Member, Severity, found
from .outliers import outliers

_COLOURED = 0.0005  # share of pixels from which an image is no grey one
_ODD = 0.2  # share of a set below which its colour, or its lack of it, is odd
_FEWEST_MARKS = 2


@dataclass(frozen=True)
class ImageFacts:
    """Figures of an image.

    Attributes:
        size: height and width in pixels.
        constant: whether all pixels are equal.
        colour: the share of pixels with a colour, 0-1.
        marks: how many pieces look burnt in.
    """

    size: tuple[int, int]
    constant: bool
    colour: float
    marks: int


def measure_image(pixels: NDArray[np.uint8]) -> ImageFacts:
    """Figures of an image (H, W, C), 0-255."""
    low, high = pixels.min(axis=2), pixels.max(axis=2)
    colour = float((high - low > 24).mean())
    return ImageFacts(
        size=(pixels.shape[0], pixels.shape[1]),
        constant=bool((pixels == pixels[0, 0]).all()),
        colour=colour,
        marks=count_marks(high) if colour < 0.05 else 0,
    )


def count_marks(grey: NDArray[np.uint8]) -> int:
    """How many pieces look like burnt-in letters or callipers: bright, thin, steep, small, and not lying flat.

    A guess: a thin, steep reflection may look alike; faint text, and text on bright tissue, are missed.

    Args:
        grey: (H, W), 0-255.
    """
    raised = grey - ndimage.grey_opening(grey, (7, 7))
    labels, _ = ndimage.label(raised > 120, np.ones((3, 3)))
    places = enumerate(ndimage.find_objects(labels), start=1)
    return sum(_is_mark(grey[place][labels[place] == number], place, grey.shape) for number, place in places)


def _is_mark(values: NDArray[np.uint8], place: tuple[slice, slice], size: tuple[int, ...]) -> bool:
    rows, columns = place
    height, width = rows.stop - rows.start, columns.stop - columns.start
    to_edge = min(rows.start, columns.start, size[0] - rows.stop, size[1] - columns.stop)
    upright = 6 <= max(height, width) <= 60 and height >= 0.6 * width >= 0.06 * height
    return bool(upright and to_edge >= 8 and len(values) >= 8 and values.max() >= 190)


def image_findings(members: Sequence[Member], facts: Sequence[ImageFacts]) -> Iterable[Finding]:
    """One finding an oddity; a constant image is a problem unless it is a slice, all else here may be as it should."""
    for member, image in zip(members, facts, strict=True):
        if image.constant:
            severity: Severity = "note" if member.is_slice else "problem"  # volumes begin and end in air
            yield found("image", "constant", [member], "all pixels are equal", severity)
        if image.marks >= _FEWEST_MARKS:
            detail = f"suspected text or callipers burnt in ({image.marks} bright thin marks)"
            yield found("image", "marks", [member], detail, "note")
    sides = [float(np.sqrt(height * width)) for height, width in (image.size for image in facts)]
    for index, times in outliers(sides):
        height, width = facts[index].size
        detail = f"{width}x{height} pixels, a side {times} of the set's median"
        yield found("image", "size", [members[index]], detail, "note")
    yield from _odd_colours(members, facts)


def _odd_colours(members: Sequence[Member], facts: Sequence[ImageFacts]) -> Iterable[Finding]:
    coloured = np.array([image.colour > _COLOURED for image in facts], bool)
    share = coloured.mean() if len(coloured) else 0.5
    odd = coloured if share < _ODD else ~coloured if share > 1 - _ODD else np.zeros_like(coloured)
    for member, image, is_odd in zip(members, facts, odd, strict=True):
        if is_odd:
            detail = f"colour in {image.colour:.2%} of its pixels, among grey images"
            detail = detail if image.colour > _COLOURED else "grey, among colour images"
            yield found("image", "channels", [member], detail, "note")
