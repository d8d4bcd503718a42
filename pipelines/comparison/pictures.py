"""Pictures of the images in which networks differ most, segmented again to draw what each outlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..bundling.gate import admit
from ..bundling.settings import has, workflow_config
from ..core.errors import DelineateError, printable
from ..datasets.datalist import Datalist
from ..imaging.item import Item
from ..imaging.overlay import CYAN, YELLOW, add_caption, draw_outline, draw_structures
from ..imaging.pictures import write_png
from ..imaging.reading import read_masks, read_picture
from ..imaging.structures import Structure
from ..imaging.volumes.slicing import Slicing
from ..inference.segmenter import Segmenter
from .judged import Judged, Row
from .verdicts import noun, number

_PICTURES, _EACH = 12, 6  # in all, and of a pair
_SIDE, _GAP = 360, 8  # pixels

Bytes = NDArray[np.uint8]
Place = tuple[str, str, str]


@dataclass(frozen=True)
class _Outlined:
    """What a network outlined: masks (S, H, W) by the number of the image's row."""

    masks: Mapping[int, Bytes]
    structures: Sequence[Structure]
    slicing: Slicing


def draw_largest(
    judged: Sequence[Judged],
    tables: Sequence[Sequence[Row]],
    largest: Sequence[Sequence[dict[str, Any]]],
    folder: Path,
    on: str | Path | None,
    settings: Mapping[str, Any],
    trust: bool,
) -> list[str]:
    """Draw some of the images that differ most, twelve in all, and note in each its ``picture``, below ``folder``.

    Args:
        judged: the evaluations.
        tables: their rows, those of one image at the same place.
        largest: of each pair, as `largest_differences` finds them.
        folder: pictures are written below it: ``figures/difference_01.png``.
        on: the data set.
        settings: with which the networks were evaluated.
        trust: use networks although verification has findings.

    Returns:
        what is to be said of them: of what there is none, and why.
    """
    for old in folder.glob("figures/difference_*.png"):
        old.unlink()
    each = min(_EACH, max(1, _PICTURES // len(largest)))
    chosen = [one for of_pair in largest for one in of_pair[:each]][:_PICTURES]
    if not chosen:
        return []
    if on is None:
        return ["There are no pictures, as no data set was named: give it with --on."]
    items, notes, outlined = _items(on), [], {}
    for one, rows in zip(judged, tables, strict=True):
        wanted = {entry["row"]: entry for entry in chosen if one.name in (entry["a"], entry["b"])}
        try:
            found = {row: _item(items, entry, on) for row, entry in wanted.items()}
            outlined[one.name] = _outline(one, rows, found, settings, trust)
        except DelineateError as error:
            reason = " ".join(line.strip() for line in str(error).splitlines()[:2])  # the second is the first finding
            notes.append(f"There are no pictures with {one.name}: {reason}.")
    drawn = [entry for entry in chosen if entry["a"] in outlined and entry["b"] in outlined]
    for place, entry in enumerate(drawn, start=1):
        entry["picture"] = f"figures/difference_{place:02}.png"
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        views = _panels(entry, _item(items, entry, on), outlined[entry["a"]], outlined[entry["b"]])
        write_png(folder / entry["picture"], views)
    return notes


def _items(on: str | Path) -> dict[Place, Item]:
    """The items of a data set by what evaluations call them; older ones do not name the series."""
    return {
        (printable(item.file), series, "" if item.slice is None else str(item.slice)): item
        for _, item in Datalist.read(on).labelled()
        for series in ("", item.series or "")
    }


def _item(items: Mapping[Place, Item], entry: Mapping[str, Any], on: str | Path) -> Item:
    found = items.get((entry["image"], entry["series"] or "", entry["slice"] or ""))
    if found is None:
        raise DelineateError(f"{entry['image']} is not in {printable(on)}")
    return found


def _outline(
    judged: Judged, rows: Sequence[Row], items: Mapping[int, Item], settings: Mapping[str, Any], trust: bool
) -> _Outlined:
    """Outline images with the network that scored them: in a cross-validation, that of the image's fold.

    Raises:
        DelineateError: it is not there any more, or not the same.
    """
    by_network: dict[tuple[Path | None, str | None], dict[int, Item]] = {}
    for row, item in items.items():
        by_network.setdefault(judged.network_of(rows[row]), {})[row] = item
    masks: dict[int, Bytes] = {}
    for (run, known_hash), of_one in by_network.items():
        segmenter = _segmenter(judged, run, known_hash, settings, trust)
        masks |= {row: _mask(segmenter, item) for row, item in of_one.items()}
    return _Outlined(masks, segmenter.structures, Slicing.of(segmenter.slicing))


def _segmenter(
    judged: Judged, run: Path | None, known_hash: str | None, settings: Mapping[str, Any], trust: bool
) -> Segmenter:
    """The network of an evaluation, as it was set there."""
    if run is None or not (run / "configs").is_dir():
        raise DelineateError("its run is not there; compare runs instead")
    admission = admit(run, trust)
    if admission.hash != known_hash:
        raise DelineateError(f"{printable(run)} is another one by now; evaluate it again")
    config = workflow_config(admission.folder, "inference")
    made = {**(judged.metrics.get("settings") or {}), "tta": judged.metrics.get("tta")}
    wanted = {**{name: value for name, value in made.items() if value is not None}, **settings}  # else the bundle's own
    return Segmenter(admission, **{name: value for name, value in wanted.items() if has(config, name)})


def _mask(segmenter: Segmenter, item: Item) -> Bytes:
    """The masks of one image, (S, H, W), on its own grid; of a volume's slice, of that alone."""
    fields = item.as_fields()
    known = {key: fields[key] for key in ("image", "slice", "series", "image_sha256") if key in fields}
    with torch.no_grad():
        prepared = segmenter.preprocessing(known)
        logits = segmenter.inferer(prepared["image"][None].to(segmenter.device), segmenter.network)
        masks = segmenter.postprocessing({"image": prepared["image"], "pred": logits[0]})["pred"]
    return np.asarray(masks.cpu(), np.uint8)


def _panels(entry: Mapping[str, Any], item: Item, a: _Outlined, b: _Outlined) -> Bytes:
    """The reference, what A and what B outlined, side by side, (H, W, 3)."""
    names = [one.name for one in a.structures] if len(a.structures) > 1 else list(item.structures)
    image, row = read_picture(item, a.slicing), entry["row"]
    reference = read_masks(item, names, a.slicing)
    views = {
        "reference": _view(image, reference, a.structures),
        **{
            f"{entry[side]}: {noun(entry['metric'])} {number(entry[f'{side}_value'])}": _view(
                image, one.masks[row], one.structures, reference
            )
            for side, one in (("a", a), ("b", b))
        },
    }
    panels = [add_caption(view, words) for words, view in views.items()]
    height = max(map(len, panels))
    padded = [np.pad(panel, ((0, height - len(panel)), (0, _GAP), (0, 0)), constant_values=255) for panel in panels]
    return np.concatenate(padded, axis=1)[:, :-_GAP]


def _view(image: Bytes, masks: Bytes, structures: Sequence[Structure], reference: Bytes | None = None) -> Bytes:
    """An image, at most 360 pixels wide or high, with outlines: of one structure, the reference's in cyan below."""
    factor = max(1, _SIDE // max(image.shape[:2]))
    large = image.repeat(factor, 0).repeat(factor, 1)
    planes = [(plane == 1).astype(np.uint8).repeat(factor, 0).repeat(factor, 1) for plane in masks]
    if len(structures) > 1:
        drawn = draw_structures(large, planes, structures)
    else:
        width = max(2, round(max(large.shape[:2]) / 150))
        for plane in reference if reference is not None else ():
            large = draw_outline(large, (plane == 1).astype(np.uint8).repeat(factor, 0).repeat(factor, 1), CYAN, width)
        drawn = draw_outline(large, planes[0], CYAN if reference is None else YELLOW, width)
    picture = Image.fromarray(drawn)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture)
