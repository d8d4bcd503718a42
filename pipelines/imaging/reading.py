"""From an item of a data list to pixels, whatever kind of file it names: picture, DICOM file or series, volume."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.errors import DelineateError, InputError
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
from .filetypes import IMAGE_SUFFIXES
from .held import HeldImage
from .masks import read_mask
from .pictures import Channels, read_image, size_text
from .volumes.cache import cached, cached_volume
from .volumes.channels import planes_as_channels
from .volumes.formats import volume_suffix
from .volumes.labels import label_plane
from .volumes.planes import orientation, plane_spacing, same_grid
from .volumes.slicing import Axis, Slicing
from .volumes.volume import Volume

ANY = Slicing()

Kind = Literal["picture", "dicom", "volume"]
Item = Mapping[Any, Any]


def kind_of(path: Path, series: str | None = None) -> Kind:
    """What kind of file ``path`` is; what cannot be told is taken for a picture, whose reader then refuses it."""
    if series is not None or path.is_dir() or volume_suffix(path):
        return "volume"
    return "picture" if path.suffix.lower() in IMAGE_SUFFIXES or not is_dicom(path) else "dicom"


def _image_kind(item: Item) -> Kind:
    image = item["image"]
    return "picture" if isinstance(image, HeldImage) else kind_of(_paths(image)[0], item.get("series"))


def read_pixels(item: Item, channels: Channels = "rgb", slicing: Slicing = ANY) -> NDArray[np.uint8]:
    """The image of an item.

    Args:
        item: with ``image`` (a path; several for modalities on one grid; a `HeldImage`), ``slice`` (where a file holds
            several images, from 0) and ``series`` (SeriesInstanceUID, where the files of a DICOM series are the image).
        channels: what the network takes. Of a volume, ``grey`` gives each plane of each modality as a channel.
        slicing: how volumes become images.

    Returns:
        (H, W, C) uint8, 0-255.

    Raises:
        InputError: a file is refused.
    """
    if isinstance(item["image"], HeldImage):
        return item["image"].read(channels)
    paths, kind = _paths(item["image"]), kind_of(_paths(item["image"])[0], item.get("series"))
    if kind == "picture":
        return read_image(paths[0], channels)
    if kind == "dicom":
        picture = read_dicom(paths[0]).picture(item.get("slice", 0), slicing.windows[0])
        return _as_channels(picture, channels)
    _axis(item, slicing)
    planes = planes_as_channels([open_volume(item, path) for path in paths], slicing, item["slice"])
    if channels == "grey" or planes.shape[2] == 3:
        return planes
    if planes.shape[2] != 1:
        reason = f"gives {planes.shape[2]} channels a slice, where rgb has 3"
        raise InputError(paths[0], reason, "set channels=grey and in_channels to their number")
    return np.repeat(planes, 3, axis=2)


def read_picture(item: Item, slicing: Slicing = ANY) -> NDArray[np.uint8]:
    """The image of an item as one shows it to a person: (H, W, 3) uint8; of a volume the first modality, one plane."""
    if _image_kind(item) != "volume":
        return read_pixels(item, "rgb", slicing)
    planes = read_pixels(item, "grey", replace(slicing, neighbours=0))
    return np.repeat(planes[..., :1], 3, axis=2)


def read_label(item: Item, slicing: Slicing = ANY) -> NDArray[np.uint8]:
    """The mask of an item, on its image's grid.

    Args:
        item: with ``label`` (a path, or several to be united) and, as far as they apply, ``label_values`` (those that
            are foreground in label pictures and volumes, the segments of DICOM SEG), ``label_is`` (``"outline"``: a
            line to be filled; ``"jpeg"``: black and white but for compression, cut at 128), ``label_size`` (rows and
            columns to resize pictures to), and what `read_pixels` takes.
        slicing: how volumes become images.

    Returns:
        (H, W) uint8, 0 or 1.

    Raises:
        InputError: a file is refused.
    """
    paths = _paths(item["label"])
    if all(kind_of(path) == "picture" for path in paths):
        return _read_masks(item, paths, item.get("label_values"))
    masks = [_label_of(item, path, slicing) for path in paths]
    for path, mask in zip(paths, masks, strict=True):
        if mask.shape != masks[0].shape:
            reason = f"mask is {size_text(mask)}, mask {paths[0].name} of the same image is {size_text(masks[0])}"
            raise InputError(path, reason, "make the masks of one image the same size")
    return np.asarray(np.any(masks, axis=0), np.uint8)


def read_spacing(item: Item, slicing: Slicing = ANY) -> tuple[float, float] | None:
    """The distances between rows and between columns, in mm; ``None`` where the file does not tell."""
    if "spacing" in item:
        row, column = item["spacing"]
        return float(row), float(column)
    kind = _image_kind(item)
    if kind == "picture":
        return None
    path = _paths(item["image"])[0]
    if kind == "volume":
        return plane_spacing(open_volume(item, path).affine, _axis(item, slicing))
    return read_dicom(path).spacing


def read_spacing_kind(item: Item) -> SpacingKind | None:
    """Where the distances of `read_spacing` hold: not always in the patient; ``None`` where the file does not tell."""
    known = "spacing" not in item and _image_kind(item) == "dicom"
    return read_dicom(_paths(item["image"])[0]).spacing_kind if known else None


def open_volume(item: Item, path: Path) -> Volume:
    """The volume at ``path``, which is kept for the next slice."""
    uid = item.get("series")
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
    except OSError as error:
        raise InputError(path, "does not exist", "check the path") from error
    return status.st_mtime_ns, status.st_size


def _label_of(item: Item, path: Path, slicing: Slicing) -> NDArray[np.uint8]:
    values, image = item.get("label_values"), _paths(item["image"])[0]
    if kind_of(path) == "picture":
        return _read_masks(item, [path], None)  # the values are those of SEG files beside it
    if kind_of(image, item.get("series")) == "dicom":
        here = read_dicom(image)
        rows, columns = here.values.shape[1:3]
        return read_seg_mask(path, here.sop_uid, item.get("slice", 0) + 1, (rows, columns), values)
    axis = _axis(item, slicing)
    label = open_volume({}, path) if volume_suffix(path) else _seg_volume(path, image, item["series"], values)
    same_grid(open_volume(item, image), label)
    return label_plane(label, axis, item["slice"], values if volume_suffix(path) else None)


def _read_masks(item: Item, paths: Sequence[Path], values: Collection[int] | None) -> NDArray[np.uint8]:
    kind = item.get("label_is")
    return read_mask(paths, kind == "outline", jpeg=kind == "jpeg", values=values, size=item.get("label_size"))


def _seg_volume(path: Path, image: Path, uid: str, segments: Collection[int] | None) -> Volume:
    """The union of a DICOM SEG's segments on the grid of the series that it was drawn on."""

    def read() -> Volume:
        series = series_at(image, uid)
        like = open_volume({"series": uid}, image)
        shape = (like.voxels.shape[1], like.voxels.shape[0])
        masks = [read_seg_mask(path, sop, frame, shape, segments) for sop, frame in volume_frames(series)]
        return Volume(path, np.stack(masks).transpose(2, 1, 0), like.affine)

    return cached(read, (str(path), *_stamp(path), uid, tuple(segments or ())))


def _axis(item: Item, slicing: Slicing) -> Axis:
    if slicing.axis is None:
        raise InputError(
            _paths(item["image"])[0],
            "is a volume, and this bundle reads pictures, not volumes",
            "train one on a data set made by 'delineate data slices'",
        )
    return slicing.axis


def _as_channels(picture: NDArray[np.uint8], channels: Channels) -> NDArray[np.uint8]:
    image = Image.fromarray(picture).convert("RGB" if channels == "rgb" else "L")
    return np.array(image).reshape(*picture.shape[:2], -1)


def _paths(value: Any) -> list[Path]:
    return [Path(value)] if isinstance(value, str | Path) else [Path(one) for one in value]
