"""From an item of a data list to pixels, whatever kind of file it names: picture, DICOM file or series, volume."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.errors import DelineateError, InputError, permission_denied
from .dicom import (
    Series,
    SpacingKind,
    find_series,
    is_dicom,
    read_dicom,
    read_seg_mask,
    read_series,
    volume_frames,
)
from .held import HeldImage
from .item import Item, kind_of
from .masks import read_mask, values_in
from .pictures import Channels, read_image, size_text
from .structures import UNANNOTATED
from .volumes.cache import cached, cached_volume
from .volumes.channels import planes_as_channels
from .volumes.formats import volume_suffix
from .volumes.labels import label_plane
from .volumes.planes import orientation, plane_spacing, same_grid
from .volumes.slicing import Axis, Slicing
from .volumes.volume import Volume

ANY = Slicing()

Mask = NDArray[np.uint8]


def read_pixels(item: Item, channels: Channels = "rgb", slicing: Slicing = ANY) -> NDArray[np.uint8]:
    """The image of an item.

    Args:
        item: its ``slice`` says which image is meant where the file holds several.
        channels: what the network takes. Of a volume, ``grey`` gives each plane of each modality as a channel.
        slicing: how volumes become images.

    Returns:
        (H, W, C) uint8, 0-255.

    Raises:
        InputError: a file is refused.
    """
    if isinstance(item.image, HeldImage):
        return item.image.read(channels)
    if item.kind == "picture":
        return read_image(item.file, channels)
    if item.kind == "dicom":
        picture = read_dicom(item.file).picture(item.slice or 0, slicing.windows[0])
        return _as_channels(picture, channels)
    _axis(item, slicing)
    planes = planes_as_channels([open_volume(path, item.series) for path in item.files], slicing, _plane(item))
    if channels == "grey" or planes.shape[2] == 3:
        return planes
    if planes.shape[2] != 1:
        reason = f"gives {planes.shape[2]} channels a slice, where rgb has 3"
        raise InputError(item.file, reason, "set channels=grey and in_channels to their number")
    return np.repeat(planes, 3, axis=2)


def read_picture(item: Item, slicing: Slicing = ANY) -> NDArray[np.uint8]:
    """The image of an item as one shows it to a person: (H, W, 3) uint8; of a volume the first modality, one plane."""
    if item.kind != "volume":
        return read_pixels(item, "rgb", slicing)
    planes = read_pixels(item, "grey", replace(slicing, neighbours=0))
    return np.repeat(planes[..., :1], 3, axis=2)


def read_label(item: Item, slicing: Slicing = ANY) -> Mask:
    """The mask of an item on its image's grid, all files of its label united: (H, W) uint8, 0 or 1.

    Raises:
        InputError: a file is refused, or they differ in size.
    """
    if all(kind_of(path) == "picture" for path in item.label):
        return _read_masks(item, item.label, item.label_values)
    masks = [_label_of(item, path, slicing) for path in item.label]
    for path, mask in zip(item.label, masks, strict=True):
        _refuse_size(path, mask, item.label[0].name, masks[0].shape)
    return np.asarray(np.any(masks, axis=0), np.uint8)


def read_masks(item: Item, names: Sequence[str], slicing: Slicing = ANY) -> Mask:
    """The masks of an item's structures on its image's grid.

    Args:
        item: of a label that does not name its structures, the only one asked for has all of it.
        names: of the structures, in the order wanted; none for the one that has no name.
        slicing: how volumes become images.

    Returns:
        (S, H, W) uint8, 0 or 1; `UNANNOTATED` throughout where nobody annotated a structure. The size is (0, 0) where
        no structure has a file and the item does not know it.

    Raises:
        InputError: a file is refused, or they differ in size.
    """
    names = list(names) or [""]
    if not item.structures and len(names) == 1:
        return read_label(item, slicing)[None]
    alone = {name: item.label_of(name) for name in names}
    masks = {name: read_label(one, slicing) for name, one in alone.items() if one and one.label}
    first = next(iter(masks), "")
    size = masks[first].shape if masks else item.size or (0, 0)
    for name, mask in masks.items():
        drawn = alone[name]
        _refuse_size(drawn.label[0] if drawn else item.file, mask, f"of {first}", size)
    blank = {name: np.full(size, UNANNOTATED if alone[name] is None else 0, np.uint8) for name in names}
    return np.stack([masks.get(name, blank[name]) for name in names])


def label_values(path: Path) -> list[int]:
    """The values in a label picture or label volume.

    Raises:
        InputError: the file is refused.
    """
    return values_in(path) if kind_of(path) == "picture" else [int(one) for one in np.unique(open_volume(path).voxels)]


def read_spacing(item: Item, slicing: Slicing = ANY) -> tuple[float, float] | None:
    """The distances between rows and between columns, in mm; ``None`` where the file does not tell."""
    if item.spacing is not None or item.kind == "picture":
        return item.spacing
    if item.kind == "volume":
        return plane_spacing(open_volume(item.file, item.series).affine, _axis(item, slicing))
    return read_dicom(item.file).spacing


def read_spacing_kind(item: Item) -> SpacingKind | None:
    """Where the distances of `read_spacing` hold: not always in the patient; ``None`` where the file does not tell."""
    return read_dicom(item.file).spacing_kind if item.spacing is None and item.kind == "dicom" else None


def open_volume(path: Path, uid: str | None = None) -> Volume:
    """The volume at ``path``, or the DICOM series of that UID in it; it is kept for the next slice."""
    if uid is None:
        return cached_volume(path)
    return cached(lambda: _read_series(path, uid), (str(path), *_stamp(path), uid))


def _read_series(path: Path, uid: str) -> Volume:
    volume = read_series(series_at(path, uid))
    try:
        orientation(volume.affine)
    except DelineateError as error:
        raise InputError(path, str(error), "resample it along the patient's axes") from error
    return volume


def series_at(path: Path, uid: str) -> Series:
    """The DICOM series of a UID in a folder (or in a file with many frames).

    Raises:
        InputError: it is not there.
    """
    found = next((one for one in _series_below(path, *_stamp(path)) if one.uid == uid and one.is_volume), None)
    if found is None:
        raise InputError(path, f"holds no DICOM series {uid!r} that is a volume", "restore its files, or index again")
    return found


@lru_cache(maxsize=8)
def _series_below(path: Path, *stamp: int) -> list[Series]:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return find_series([file for file in files if is_dicom(file)])[0]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except PermissionError as error:
        raise permission_denied(path) from error
    except OSError as error:
        raise InputError(path, "does not exist", "check the path") from error
    return status.st_mtime_ns, status.st_size


def _label_of(item: Item, path: Path, slicing: Slicing) -> Mask:
    if kind_of(path) == "picture":
        return _read_masks(item, [path], None)  # the values are those of SEG files beside it
    values = item.label_values
    if item.kind == "dicom":
        here = read_dicom(item.file)
        rows, columns = here.values.shape[1:3]
        return read_seg_mask(path, here.sop_uid, (item.slice or 0) + 1, (rows, columns), values)
    axis = _axis(item, slicing)
    label = open_volume(path) if volume_suffix(path) else _seg_volume(path, item, values)
    same_grid(open_volume(item.file, item.series), label)
    return label_plane(label, axis, _plane(item), values if volume_suffix(path) else None)


def _read_masks(item: Item, paths: Sequence[Path], values: Collection[int] | None) -> Mask:
    return read_mask(
        paths, item.label_is == "outline", jpeg=item.label_is == "jpeg", values=values, size=item.label_size
    )


def _refuse_size(path: Path, mask: Mask, other: str, size: tuple[int, ...]) -> None:
    if mask.shape != size:
        reason = f"mask is {size_text(mask)}, mask {other} of the same image is {size[1]}x{size[0]}"
        raise InputError(
            path, reason, "make the masks of one image the same size, or have them resized: --resize-masks"
        )


def _seg_volume(path: Path, item: Item, segments: Collection[int] | None) -> Volume:
    """The union of a DICOM SEG's segments on the grid of the series that it was drawn on."""
    image, uid = item.file, str(item.series)

    def read() -> Volume:
        like = open_volume(image, uid)
        shape = (like.voxels.shape[1], like.voxels.shape[0])
        frames = volume_frames(series_at(image, uid))
        masks = [read_seg_mask(path, sop, frame, shape, segments) for sop, frame in frames]
        return Volume(path, np.stack(masks).transpose(2, 1, 0), like.affine)

    return cached(read, (str(path), *_stamp(path), uid, tuple(segments or ())))


def _axis(item: Item, slicing: Slicing) -> Axis:
    if slicing.axis is None:
        raise InputError(
            item.file,
            "is a volume, and this bundle reads pictures, not volumes",
            "train one on a data set made by 'delineate data slices'",
        )
    return slicing.axis


def _plane(item: Item) -> int:
    if item.slice is None:
        raise InputError(item.file, "is a whole volume where a slice is needed", "cut it: delineate data slices")
    return item.slice


def _as_channels(picture: NDArray[np.uint8], channels: Channels) -> NDArray[np.uint8]:
    image = Image.fromarray(picture).convert("RGB" if channels == "rgb" else "L")
    return np.array(image).reshape(*picture.shape[:2], -1)
