"""Outlines drawn on pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .structures import Colour, Structure, colours_of

Bytes = NDArray[np.uint8]
YELLOW, CYAN = (255, 220, 0), (0, 225, 255)
_STRIP, _TEXT = (24, 24, 24), (240, 240, 240)


def draw_outline(image: Bytes, mask: Bytes, colour: tuple[int, int, int] = YELLOW, width: int | None = None) -> Bytes:
    """Draw the border of a mask on a copy of an image.

    The line lies half inside and half outside the border, the odd pixel inside; where a mask reaches the edge
    of the image, the line runs along that edge.

    Args:
        image: (H, W, 3) or (H, W, 1), 0..255.
        mask: (H, W), 0/1.
        colour: red, green and blue, 0..255.
        width: of the line, in pixels; by default a 300th of the longer side, at least 1.

    Returns:
        (H, W, 3), 0..255.

    Raises:
        ValueError: image and mask differ in size.
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(f"image is {image.shape[:2]}, its mask {mask.shape} (height, width): they must be equal")
    width = width or max(1, round(max(mask.shape) / 300))
    outside, inside = width // 2, width - width // 2
    grown, shrunk = _squares(mask, outside, np.maximum), _squares(mask, inside, np.minimum)
    drawn = np.array(np.broadcast_to(image, (*mask.shape, 3)))
    drawn[grown > shrunk] = colour
    return drawn


def draw_structures(image: Bytes, masks: Sequence[Bytes], structures: Sequence[Structure]) -> Bytes:
    """Draw the border of each structure in its colour, later ones over earlier ones; of several, name them below.

    Args:
        image: (H, W, 3) or (H, W, 1), 0..255.
        masks: (H, W), 0/1, one a structure.
        structures: in the order of the masks.

    Returns:
        of one structure (H, W, 3), 0..255; of several higher, by a strip with their names, and wider where a name
        needs it. The image's pixels stay where they are.

    Raises:
        ValueError: image and masks differ in size.
    """
    drawn = image
    for mask, colour in zip(masks, colours_of(structures), strict=True):
        drawn = draw_outline(drawn, mask, colour)
    if len(structures) < 2:
        return drawn
    return _above(drawn, _legend([one.name for one in structures], colours_of(structures), drawn.shape[:2]))


def add_caption(image: Bytes, words: str) -> Bytes:
    """An image with words in a strip above it, in as many lines as they need; no pixel is covered.

    Args:
        image: (H, W, 3), 0..255.
        words: what is written.

    Returns:
        (H', W', 3), 0..255; wider than the image only where a single word is.
    """
    return _above(_words(words, image.shape[:2]), image)


def add_warning(image: Bytes, words: str) -> Bytes:
    """As `add_caption`, below the image, whose pixels stay where they are, and in another colour."""
    return _above(image, _words(words, image.shape[:2], YELLOW))


def _words(words: str, size: tuple[int, int], colour: Colour = _TEXT) -> Bytes:
    """A strip as wide as the image, or as the longest word, in as many lines as the words need."""
    high = max(11, round(max(size) / 45))
    font, gap = _font(high), max(3, high // 3)
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) + 2 * gap <= size[1]:
            lines[-1] = longer
        else:
            lines.append(word)
    width = max(size[1], *(round(font.getlength(line)) + 2 * gap for line in lines))
    strip = Image.new("RGB", (width, (high + gap) * len(lines) + gap), _STRIP)
    for number, line in enumerate(lines):
        middle = gap + number * (high + gap) + high / 2
        ImageDraw.Draw(strip).text((gap, middle), line, font=font, fill=colour, anchor="lm")
    return np.asarray(strip)


def _legend(names: Sequence[str], colours: Sequence[Colour], size: tuple[int, int]) -> Bytes:
    """A strip as wide as the image, or as the longest name: a box of the colour before each name, in rows."""
    high = max(11, round(max(size) / 45))  # pixels: legible on a small image, and on a large one shown small
    font, gap = _font(high), max(3, high // 3)
    lengths = [gap + high + gap + round(font.getlength(name)) + gap for name in names]
    width = max(size[1], *lengths)
    strip = Image.new("RGB", (width, (high + 2 * gap) * len(names)), _STRIP)
    draw, x, y = ImageDraw.Draw(strip), 0, gap
    for name, colour, length in zip(names, colours, lengths, strict=True):
        if x and x + length > width:
            x, y = 0, y + high + gap
        draw.rectangle((x + gap, y, x + gap + high - 1, y + high - 1), fill=colour)
        draw.text((x + 2 * gap + high, y + high / 2), name, font=font, fill=_TEXT, anchor="lm")
        x += length
    return np.asarray(strip)[: y + high + gap]


def _squares(mask: Bytes, reach: int, which: np.ufunc) -> Bytes:
    """The largest or the smallest value (`which`) within ``reach`` pixels to each side; outside of the mask is 0."""
    for axis in (0, 1):
        beyond = np.pad(mask, [(reach, reach) if each == axis else (0, 0) for each in (0, 1)])
        mask = which.reduce(sliding_window_view(beyond, 2 * reach + 1, axis), -1)
    return mask


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Matplotlib's; a runtime without it has Pillow's own, which knows fewer letters."""
    try:
        import matplotlib
    except ImportError:
        return ImageFont.load_default(size)
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _above(upper: Bytes, lower: Bytes) -> Bytes:
    """Two images, one above the other, the narrower one filled up at its right."""
    width = max(upper.shape[1], lower.shape[1])
    fill = [np.full((len(one), width - one.shape[1], 3), _STRIP, np.uint8) for one in (upper, lower)]
    rows = [np.concatenate(pair, axis=1) for pair in zip((upper, lower), fill, strict=True)]
    return np.concatenate(rows)
