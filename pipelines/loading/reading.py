"""Images with what is known of them, as transforms and the runtime without torch take them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..imaging.item import Item
from ..imaging.pictures import Channels
from ..imaging.reading import read_pixels, read_spacing, read_spacing_kind
from ..imaging.volumes.slicing import Slicing


def read_with_meta(
    item: Item, channels: Channels, slicing: Slicing, in_channels: int | None = None
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The image of an item, and its metadata.

    Args:
        item: its ``slice`` says which image is meant where the file holds several.
        channels: ``"rgb"`` or ``"grey"``.
        slicing: how volumes become images.
        in_channels: C that the network takes; other images are refused. Any where ``None``.

    Returns:
        (C, H, W) uint8, 0-255; the metadata that `ReadImaged` tells of.

    Raises:
        InputError: a file is refused, or gives other channels.
    """
    pixels = np.ascontiguousarray(read_pixels(item, channels, slicing).transpose(2, 0, 1))
    meta = _meta(item, pixels.shape[1:], slicing)
    if in_channels not in (None, len(pixels)):
        raise InputError(
            meta["filename_or_obj"],
            f"gives {len(pixels)} channels; the network takes {in_channels}",
            "set in_channels (modalities x (1 + 2 x neighbours)) and train again, or give it what it takes",
        )
    return pixels, meta


def _meta(item: Item, size: tuple[int, ...], slicing: Slicing) -> dict[str, Any]:
    meta = {
        "filename_or_obj": str(item.file),
        "spatial_shape": list(size),
        "slicing": json.dumps(slicing.as_dict()),  # a batch of metas can't hold None
    }
    known: dict[str, Any] = {"slice": item.slice, "slices": item.slices, "series": item.series}
    meta |= {key: value for key, value in known.items() if value is not None}
    if len(item.files) > 1:
        meta["files"] = json.dumps([str(path) for path in item.files])
    if spacing := read_spacing(item, slicing):
        meta["spacing"] = json.dumps(spacing)
    if kind := read_spacing_kind(item):
        meta["spacing_kind"] = kind
    return meta
