"""Volumes to data sets of slices: named by volume and number, and written as pictures only where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DelineateError, InputError
from ..core.sums import sha256 as file_hash
from ..imaging.item import Drawn, Item
from ..imaging.pictures import write_png
from ..imaging.reading import open_volume, read_masks, read_pixels
from ..imaging.structures import UNANNOTATED, Structure
from ..imaging.volumes.formats import volume_suffix
from ..imaging.volumes.planes import plane_count, plane_spacing, same_grid
from ..imaging.volumes.slicing import Axis, Slicing
from .datalist import PARTS, Datalist
from .layouts import Found


def cut_volumes(items: Sequence[Item], slicing: Slicing | None, drop_empty: bool = False) -> Found:
    """One item a slice of each volume; all items pass where there is no axis to cut along.

    Args:
        items: as layouts give them.
        slicing: its axis is cut along.
        drop_empty: whether slices without foreground are left out; those of unlabelled volumes are kept.

    Returns:
        the slices, in order, and a refusal of each item that cannot be cut.
    """
    axis = slicing.axis if slicing else None
    if axis is None:
        return list(items), []
    found: list[Item] = []
    refused: list[InputError] = []
    for item in items:
        try:
            found += _slices(item, axis, drop_empty)
        except InputError as error:
            refused.append(error)
    return found, refused


def bundle_settings(dataset_dir: Path, channels: str) -> dict[str, Any]:
    """What a bundle must have set to be trained on a data set of slices; nothing for one of pictures.

    Args:
        dataset_dir: the data set's folder.
        channels: of the bundle, ``rgb`` or ``grey``.

    Returns:
        ``slicing`` and, with ``grey``, ``in_channels``.
    """
    datalist = Datalist.read(dataset_dir)
    datalist.refuse_unindexed()
    first = next((item for _, item in datalist.labelled()), None)
    if datalist.slicing is None or first is None:
        return {}
    settings: dict[str, Any] = {"slicing": datalist.slicing.as_dict()}
    if channels == "grey":
        settings["in_channels"] = read_pixels(first, "grey", datalist.slicing).shape[2]
    return settings


def write_slices(dataset_dir: Path) -> int:
    """Write the slices of a data set into its ``images/`` and ``labels/`` as PNG, and name these in its data list.

    An item keeps where it comes from: ``volume`` and ``plane``. Blank slices keep the hash of their volume.

    Args:
        dataset_dir: the data set's folder; its data list is replaced when all is written.

    Returns:
        the number of slices.

    Raises:
        DelineateError: slices have several channels.
    """
    datalist = Datalist.read(dataset_dir)
    slicing = Slicing.of(datalist.slicing)
    lists = {part: [_write_slice(item, datalist.folder, slicing) for item in datalist.part(part)] for part in PARTS}
    replace(datalist, slicing=None, lists=lists).write()
    return sum(map(len, lists.values()))


def _slices(item: Item, axis: Axis, drop_empty: bool) -> list[Item]:
    if item.kind != "volume":
        raise InputError(item.file, "is no volume", "index pictures without cutting: delineate data index")
    volume = open_volume(item.file, item.series)
    for path in item.files[1:]:
        same_grid(volume, open_volume(path))
    whole = replace(item, spacing=plane_spacing(volume.affine, axis))
    slices = [replace(whole, slice=index) for index in range(plane_count(volume, axis))]
    kept = [one for one in slices if _has_foreground(one, axis) or not (one.label and drop_empty)]
    if not kept:
        values = item.label_values
        wanted = "" if values is None else f" of the values {', '.join(map(str, values))}"
        raise InputError(item.file, f"has no slice with foreground{wanted}", "keep empty slices, or remove it")
    return kept


def _has_foreground(item: Item, axis: Axis) -> bool:
    """Whether a slice has, of any structure; reading its label refuses one that does not fit."""
    return bool(item.label) and bool((read_masks(item, list(item.structures), Slicing(axis)) == 1).any())


def _write_slice(item: Item, folder: Path, slicing: Slicing) -> Item:
    """Write one slice and its masks; the item that names them."""
    stem = item.file.name[: len(item.file.name) - len(volume_suffix(item.file) or "")]
    mark = sha256(f"{item.file}\n{item.series}".encode()).hexdigest()[:6]  # volumes of one name in several folders
    name = f"{stem}_{mark}_{item.slice:04d}"
    pixels = read_pixels(item, "grey", slicing)
    if pixels.shape[2] != 1:
        raise DelineateError(f"slices have {pixels.shape[2]} channels, and a grey PNG takes 1; leave out --write")
    image = _write_picture(folder / "images" / f"{name}.png", pixels[..., 0])
    written = replace(item, image=(image,), volume=item.file, plane=item.slice, slice=None, series=None)
    if item.pixels_sha256:  # a blank one keeps its volume's hash: equal files of other patients would seem a leak
        written = replace(written, image_sha256=(file_hash(image),))
    return _write_masks(written, item, folder / "labels" / name, slicing) if item.label else written


def _write_masks(written: Item, item: Item, base: Path, slicing: Slicing) -> Item:
    """Write the masks of a slice, a file a structure, and name them in its item."""
    masks = dict(zip(item.structures or [""], read_masks(item, list(item.structures), slicing), strict=True))
    drawn = {name: mask for name, mask in masks.items() if not (mask == UNANNOTATED).any()}
    files = {name: f"{base.name}_{Structure(name).file_name}" if name else base.name for name in drawn}
    paths = [_write_picture(base.with_name(f"{files[name]}.png"), mask * np.uint8(255)) for name, mask in drawn.items()]
    at = {name: Drawn((position,)) for position, name in enumerate(drawn)}
    structures = {name: at.get(name) for name in item.structures}
    hashes = tuple(map(file_hash, paths))
    return replace(written, label=tuple(paths), label_sha256=hashes, label_values=None, structures=structures)


def _write_picture(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels)
    return path
