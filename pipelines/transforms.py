"""MONAI dictionary transforms: reading images and masks, and the way to the network's grid and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from torch.nn.functional import interpolate

from .images import read_image, read_mask

Item = dict[Hashable, Any]


class ReadImaged(MapTransform):
    """Reads image files: path to ``MetaTensor`` (C, H, W), uint8 0-255, rows first, EXIF orientation applied.

    Args:
        keys: keys of the paths.
        channels: ``"rgb"`` (C = 3) or ``"grey"`` (C = 1); see :func:`delineate.pipelines.images.read_image`.

    Raises:
        InputError: when a file is refused; it names file, reason and remedy.
    """

    def __init__(self, keys: KeysCollection, channels: Literal["rgb", "grey"]) -> None:
        super().__init__(keys)
        self.channels = channels

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Replace each path by the image's pixels."""
        item = dict(data)
        for key in self.key_iterator(item):
            path = Path(item[key])
            pixels = torch.from_numpy(read_image(path, self.channels)).permute(2, 0, 1).contiguous()
            item[key] = MetaTensor(pixels, meta={"filename_or_obj": str(path), "spatial_shape": list(pixels.shape[1:])})
        return item


class ReadMaskd(MapTransform):
    """Reads masks: path, or list of paths to be united, to a tensor (1, H, W), uint8 0/1, on the file's own grid.

    Args:
        keys: keys of the paths.

    Raises:
        InputError: when a file is no mask; it names file, reason and remedy.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Replace each path by the mask."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = torch.from_numpy(read_mask(item[key]))[None]
        return item


class ResizeToGridd(MapTransform, InvertibleTransform):
    """Resizes to the network's grid: (C, H, W) to (C, \\*spatial_size), keeping the type.

    Bilinear with antialiasing: uint8 stays uint8 and 0/1 masks are cut at one half. ``Invertd`` takes a prediction back
    to the image's own grid, bilinearly in float32.

    Args:
        keys: keys of the images.
        spatial_size: rows and columns of the network's grid, pixels.
        is_mask: whether the values are 0/1 masks.
    """

    def __init__(self, keys: KeysCollection, spatial_size: Sequence[int], is_mask: bool = False) -> None:
        super().__init__(keys)
        self.spatial_size = [int(n) for n in spatial_size]
        self.is_mask = is_mask

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Resize each image."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[key]
            plain = image.as_tensor() if isinstance(image, MetaTensor) else image
            grid = (
                (_resize(plain.float(), self.spatial_size) >= 0.5).to(plain.dtype)
                if self.is_mask
                else _resize(plain, self.spatial_size)
            )
            if isinstance(image, MetaTensor):
                grid = MetaTensor(grid, meta=dict(image.meta), applied_operations=list(image.applied_operations))
                self.push_transform(grid, orig_size=plain.shape[1:])
            item[key] = grid
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> Item:
        """Take each image, usually a prediction, back to the size it had before."""
        item = dict(data)
        for key in self.key_iterator(item):
            size = self.pop_transform(item[key])["orig_size"]
            item[key] = MetaTensor(_resize(item[key].as_tensor().float(), list(size)), meta=dict(item[key].meta))
        return item


def _resize(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if list(image.shape[1:]) == list(size):
        return image
    return interpolate(image[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False)[0]
