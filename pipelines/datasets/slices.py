"""Volumes to data sets of slices: named by volume and number, and written as pictures only where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DelineateError, InputError
from ..core.sums import sha256 as file_hash
from ..imaging.pictures import write_png
from ..imaging.reading import kind_of, open_volume, read_label, read_pixels
from ..imaging.volumes.formats import volume_suffix
from ..imaging.volumes.planes import plane_count, plane_spacing, same_grid
from ..imaging.volumes.slicing import Axis, Slicing
from .datalist import Entry, as_list, placed, read_datalist, write_datalist
from .layouts import Found, Item


def cut(
    items: Sequence[Item], slicing: Slicing | None, drop_empty: bool = False, labels: Sequence[int] | None = None
) -> Found:
    """One item a slice of each volume; all items pass where there is no axis to cut along.

    Args:
        items: as layouts give them.
        slicing: its axis is cut along.
        drop_empty: whether slices without foreground are left out; those of unlabelled volumes are kept.
        labels: which values of a label are foreground; all but 0 where ``None``.

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
            found += _slices(item, axis, drop_empty, labels)
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
    datalist = read_datalist(dataset_dir)
    first = next((entry for _, entry in placed(datalist)), None)
    if not datalist.get("slicing") or first is None:
        return {}
    settings = {"slicing": datalist["slicing"]}
    if channels == "grey":
        settings["in_channels"] = read_pixels(first, "grey", Slicing.of(datalist["slicing"])).shape[2]
    return settings


def write_slices(dataset_dir: Path) -> int:
    """Write the slices of a data set into its ``images/`` and ``labels/`` as PNG, and name these in its data list.

    An entry keeps where it comes from: ``volume`` and ``plane``. Blank slices keep the hash of their volume.

    Args:
        dataset_dir: the data set's folder; its data list is replaced when all is written.

    Returns:
        the number of slices.

    Raises:
        DelineateError: slices have several channels.
    """
    datalist = read_datalist(dataset_dir)
    slicing = Slicing.of(datalist.pop("slicing"))
    lists = {key: value for key, value in datalist.items() if key in ("training", "validation", "test", "unlabelled")}
    for entries in lists.values():
        entries[:] = [_write_slice(entry, dataset_dir.resolve(), slicing) for entry in entries]
    write_datalist(datalist, dataset_dir.resolve())
    return sum(map(len, lists.values()))


def _slices(item: Item, axis: Axis, drop_empty: bool, labels: Sequence[int] | None) -> list[Item]:
    if kind_of(item.image, item.fields.get("series")) != "volume":
        raise InputError(item.image, "is no volume", "index pictures without cutting: delineate data index")
    volume = open_volume(item.fields, item.image)
    for path in item.modalities:
        same_grid(volume, open_volume({}, path))
    common = {**item.fields, "spacing": list(plane_spacing(volume.affine, axis))}
    if labels is not None and item.label:
        common["label_values"] = list(labels)
    slices = [replace(item, fields=common | {"slice": index}) for index in range(plane_count(volume, axis))]
    kept = [one for one in slices if _has_foreground(one, axis) or not (one.label and drop_empty)]
    if not kept:
        wanted = "" if labels is None else f" of the values {', '.join(map(str, labels))}"
        raise InputError(item.image, f"has no slice with foreground{wanted}", "keep empty slices, or remove it")
    return kept


def _has_foreground(item: Item, axis: Axis) -> bool:
    """Whether a slice has; reading its label refuses one that does not fit."""
    named = {**item.fields, "image": item.image, "label": item.label}
    return bool(item.label) and bool(read_label(named, Slicing(axis)).any())


def _write_slice(entry: Entry, folder: Path, slicing: Slicing) -> Entry:
    """Write one slice and its mask; the entry that names them."""
    source = Path(as_list(entry["image"])[0])
    stem = source.name[: len(source.name) - len(volume_suffix(source) or "")]
    mark = sha256(f"{source}\n{entry.get('series')}".encode()).hexdigest()[:6]  # volumes of one name in several folders
    name = f"{stem}_{mark}_{entry['slice']:04d}.png"
    pixels = read_pixels(entry, "grey", slicing)
    if pixels.shape[2] != 1:
        raise DelineateError(f"slices have {pixels.shape[2]} channels, and a grey PNG takes 1; leave out --write")
    files = {"image": pixels[..., 0]}
    if "label" in entry:
        files["label"] = read_label(entry, slicing) * np.uint8(255)
    written: Entry = {key: value for key, value in entry.items() if key not in _OF_VOLUMES}
    written |= {"volume": str(source), "plane": entry["slice"]}
    for key, picture in files.items():
        path = folder / f"{key}s" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, picture)
        written |= {key: str(path), f"{key}_sha256": file_hash(path)}
    if "pixels_sha256" not in entry:  # blank: the file equals those of other patients, which would be taken for a leak
        written["image_sha256"] = entry["image_sha256"]
    return written


_OF_VOLUMES = ("slice", "series", "label_values", "image", "label", "image_sha256", "label_sha256")
