"""Images that are in memory: arrays and Pillow's, taken by the same channel policy as files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.errors import InputError
from .pictures import Channels, picture_pixels, upright

InMemory = NDArray[Any] | Image.Image


@dataclass(frozen=True)
class HeldImage:
    """An image in memory.

    Attributes:
        image: (H, W) or (H, W, 3) uint8, 0-255; or an image of Pillow's, whose EXIF orientation is applied.
        source: what errors and results call it.
    """

    image: InMemory
    source: str

    def read(self, channels: Channels) -> NDArray[np.uint8]:
        """As `read_image` reads the file of the same pixels.

        Raises:
            InputError: it has another shape or type, or is refused as a file would be.
        """
        image = self.image if isinstance(self.image, Image.Image) else _as_picture(self.source, self.image)
        return picture_pixels(self.source, upright(self.source, image), channels)


def in_memory(source: object) -> TypeGuard[InMemory]:
    """Whether ``source`` is an image, not the name of one."""
    return isinstance(source, np.ndarray | Image.Image)


def _as_picture(source: str, array: NDArray[Any]) -> Image.Image:
    shape = f"is an array {array.shape}"
    if array.ndim == 4:
        raise InputError(source, shape, "give the images one by one, e.g. segment(list(array))")
    if array.ndim == 3 and array.shape[2] == 4:
        raise InputError(source, shape, "leave the alpha channel out: array[..., :3]")
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        raise InputError(source, shape, "put rows first, channels last: array.transpose(1, 2, 0)")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or 0 in array.shape:
        raise InputError(source, shape, "give (H, W) or (H, W, 3); write a volume to a file first, which has a grid")
    if array.dtype != np.uint8:
        reason = f"is an array of {array.dtype}"
        remedy = "give uint8, 0-255; of values 0-1 that is (array * 255).round().astype('uint8')"
        raise InputError(source, reason, remedy)
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array))
