"""Outlines drawn on pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bytes = NDArray[np.uint8]
YELLOW, CYAN = (255, 220, 0), (0, 225, 255)


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
    grown = ndimage.maximum_filter(mask, 2 * outside + 1, mode="constant", cval=0)
    shrunk = ndimage.minimum_filter(mask, 2 * inside + 1, mode="constant", cval=0)
    drawn = np.array(np.broadcast_to(image, (*mask.shape, 3)))
    drawn[grown > shrunk] = colour
    return drawn
