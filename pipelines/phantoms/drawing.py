"""What drawn pictures share: coordinates, smooth noise, lines and filled outlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.uint8]
Size = tuple[int, int]


def grid(size: Size) -> tuple[Array, Array]:
    """Coordinates y and x, (H, W) each: 0 in the middle, 1 at half the shorter side."""
    height, width = size
    half = min(size) / 2
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (y - (height - 1) / 2) / half, (x - (width - 1) / 2) / half


def noise(rng: np.random.Generator, size: Size, cells: float) -> Array:
    """Smooth noise, (H, W), about -1..1, with ``cells`` bumps along the shorter side."""
    coarse = [max(2, round(cells * side / min(size))) for side in size]
    image = Image.fromarray(rng.uniform(-1, 1, coarse).astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC))


def layer(size: Size, lines: Sequence[tuple[Array, float]], blur: float = 0.0) -> Array:
    """Lines, (H, W) in 0..1, each from points (N, 2) as x, y in pixels and a width in pixels."""
    fine = 2
    image = Image.new("L", (size[1] * fine, size[0] * fine))
    draw = ImageDraw.Draw(image)
    for points, width in lines:
        draw.line((points * fine).ravel().tolist(), 255, max(1, round(width * fine)), "curve")
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(blur * fine))
    return np.asarray(image.reduce(fine), np.float32) / 255


def filled(size: Size, outline: Array) -> Mask:
    """The inside of an outline, (H, W) uint8 0/1, from points (N, 2) as x, y in pixels."""
    image = Image.new("L", size[::-1])
    ImageDraw.Draw(image).polygon(outline.ravel().tolist(), 1)
    return np.asarray(image)
