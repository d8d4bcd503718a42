"""MONAI dictionary transforms: reading images and masks, and the way to the network's grid and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import ensure_tuple_rep
from torch.nn.functional import interpolate

from ..imaging.item import Item
from ..imaging.reading import read_masks
from ..imaging.structures import UNANNOTATED, refuse_other_channels, refuse_overlap, structures_of, thresholds_of
from ..imaging.unchanged import refuse_changed
from ..imaging.volumes.slicing import Slicing
from .reading import read_with_meta

Fields = dict[Hashable, Any]


class ReadImaged(MapTransform):
    """Reads images: path to ``MetaTensor`` (C, H, W), uint8 0-255, rows first, EXIF orientation applied.

    Its ``meta`` names the file (``filename_or_obj``; those of several modalities in ``files``), the size
    (``spatial_shape``), the distances between rows and columns in mm where they are known (``spacing``) and, of a DICOM
    image, where these hold (``spacing_kind``), how it was read (``slicing``) and, of a slice, where it belongs
    (``slice``, ``slices``, ``series``).

    Args:
        keys: keys of the paths; which part of a file is meant stands beside them in the item (``slice``, ``series``).
        channels: ``"rgb"`` or ``"grey"``; see :func:`delineate.pipelines.imaging.reading.read_pixels`.
        slicing: how volumes become images: a mapping with the names of
            :class:`delineate.pipelines.imaging.volumes.slicing.Slicing`.
        in_channels: C that the network takes; other images are refused. Any where ``None``.

    Raises:
        InputError: when a file is refused, or is not the one that was indexed (``KEY_sha256`` of the item); it names
            file, reason and remedy.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: Literal["rgb", "grey"],
        slicing: Mapping[str, Any] | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__(keys)
        self.channels, self.slicing, self.in_channels = channels, Slicing.of(slicing), in_channels

    def __call__(self, data: Mapping[Hashable, Any]) -> Fields:
        """Replace each path by the image's pixels."""
        item = dict(data)
        for key in self.key_iterator(item):
            refuse_changed(item[key], item.pop(f"{key}_sha256", None))
            named = Item.from_fields({**item, "image": item[key]})
            pixels, meta = read_with_meta(named, self.channels, self.slicing, self.in_channels)
            item[key] = MetaTensor(torch.from_numpy(pixels), meta=meta)
        return item


class ReadMaskd(MapTransform):
    """Reads masks to a tensor (S, H, W), uint8 0/1, on the image's own grid: a channel a structure.

    The channel of a structure that nobody annotated is `UNANNOTATED` (255) throughout.

    Args:
        keys: keys of the masks' paths (one, or a list to be united); what is foreground stands beside them in the item
            (``label_values``, ``label_is``, ``label_size``, ``structures``, ``slice``).
        slicing: how volumes become images, as for :class:`ReadImaged`.
        structures: those of the bundle, in their order; one, whatever its name, where ``None``.
        exclusive: whether images in which two structures overlap are refused.

    Raises:
        InputError: when a file is no mask, or is not the one that was indexed (``KEY_sha256`` of the item); it names
            file, reason and remedy.
    """

    def __init__(
        self,
        keys: KeysCollection,
        slicing: Mapping[str, Any] | None = None,
        structures: Sequence[Mapping[str, Any]] | None = None,
        exclusive: bool = False,
    ) -> None:
        super().__init__(keys)
        self.slicing, self.exclusive = Slicing.of(slicing), exclusive
        self.names = [one.name for one in structures_of(structures)]

    def __call__(self, data: Mapping[Hashable, Any]) -> Fields:
        """Replace each path by the masks."""
        item = dict(data)
        for key in self.key_iterator(item):
            refuse_changed(item[key], item.pop(f"{key}_sha256", None))
            image = item.get("image")  # its file, which may have been read by now
            known = _of_read(image) if isinstance(image, MetaTensor) else {}
            named = Item.from_fields({"image": [], **item, **known, "label": item[key]})
            masks = read_masks(named, self.names, self.slicing)
            if self.exclusive:
                refuse_overlap(named.label[0] if named.label else named.file, self.names, masks)
            item[key] = torch.from_numpy(masks)
        item.pop("structures", None)  # the channels say it now, and no batch can hold what is not annotated
        return item


def _of_read(image: MetaTensor) -> dict[str, Any]:
    """What of an item an image says that has been read."""
    return {"image": image.meta["filename_or_obj"], "size": image.meta["spatial_shape"]}


class ResizeToGridd(MapTransform, InvertibleTransform):
    """Resizes to the network's grid: (C, H, W) to (C, \\*spatial_size), keeping the type.

    Bilinear with antialiasing: uint8 stays uint8 and 0/1 masks are cut at one half, each channel by itself; what nobody
    annotated stays `UNANNOTATED`. ``Invertd`` takes a prediction back
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

    def __call__(self, data: Mapping[Hashable, Any]) -> Fields:
        """Resize each image."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[key]
            plain = image.as_tensor() if isinstance(image, MetaTensor) else image
            grid = _resize_masks(plain, self.spatial_size) if self.is_mask else _resize(plain, self.spatial_size)
            if isinstance(image, MetaTensor):
                grid = MetaTensor(grid, meta=dict(image.meta), applied_operations=list(image.applied_operations))
                self.push_transform(grid, orig_size=plain.shape[1:])
            item[key] = grid
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> Fields:
        """Take each image, usually a prediction, back to the size it had before."""
        item = dict(data)
        for key in self.key_iterator(item):
            size = self.pop_transform(item[key])["orig_size"]
            item[key] = MetaTensor(_resize(item[key].as_tensor().float(), list(size)), meta=dict(item[key].meta))
        return item


class StructureMasksd(MapTransform):
    """Probabilities (C, H, W) to a mask of each structure: (S, H, W), uint8, 0 or 1.

    Structures that may overlap have a channel each: a pixel is of each structure whose probability reaches its
    threshold. Exclusive ones have the background before them, in channel 0: a pixel is of the one structure whose
    probability is the greatest of all, background included, and reaches its threshold. Of equal probabilities the
    first is the greatest, so the background wins against all others.

    Args:
        keys: keys of the probabilities, which become masks.
        structures: their names, thresholds and so on, in the order of the channels, as mappings with the names of
            :class:`delineate.pipelines.imaging.structures.Structure`; ``None`` where there is one, which has no name.
        exclusive: whether no pixel is of two structures.
        threshold: of all, or a mapping of names to thresholds; ``None``: each structure's own, else 0.5, or where
            structures are exclusive 0: the greatest is enough.
        probability_keys: keys that the probabilities (S, H, W) of the structures, without the background, go to.

    Raises:
        UnknownNameError: a threshold is of no structure.
        DelineateError: a structure or threshold is none; there are more or fewer channels than structures.
    """

    def __init__(
        self,
        keys: KeysCollection,
        structures: Sequence[Mapping[str, Any]] | None = None,
        exclusive: bool = False,
        threshold: float | Mapping[str, float] | None = None,
        probability_keys: KeysCollection = "probability",
    ) -> None:
        super().__init__(keys)
        self.exclusive, self.probability_keys = exclusive, ensure_tuple_rep(probability_keys, len(self.keys))
        self.thresholds = thresholds_of(structures_of(structures), threshold, exclusive)

    def __call__(self, data: Mapping[Hashable, Any]) -> Fields:
        """Replace the probabilities by masks."""
        item = dict(data)
        for key, probability_key in self.key_iterator(item, self.probability_keys):
            item[key], item[probability_key] = self._threshold(item[key])
        return item

    def _threshold(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        refuse_other_channels(len(channels), len(self.thresholds), self.exclusive)
        probability = channels[1:] if self.exclusive else channels
        mask = probability >= torch.tensor(self.thresholds, device=channels.device)[:, None, None]
        if self.exclusive:
            order = torch.arange(1, len(channels), device=channels.device)
            mask &= channels.argmax(0) == order[:, None, None]
        return mask.to(torch.uint8), probability


def _resize_masks(masks: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    grid = (_resize(masks.float(), size) >= 0.5).to(masks.dtype)
    grid[(masks == UNANNOTATED).all(dim=(1, 2))] = UNANNOTATED
    return grid


def _resize(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if list(image.shape[1:]) == list(size):
        return image
    return interpolate(image[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False)[0]
