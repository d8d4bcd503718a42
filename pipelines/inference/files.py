"""The files of a result: what is asked for, how their names end, and what is in a label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError, counted
from ..imaging.structures import Structure
from ..imaging.writers import IMAGE_FORMATS, VOLUME_FORMATS, VolumeFormat

KINDS = ("mask", "overlay", "probability")
_FORMATS = (*IMAGE_FORMATS, *VOLUME_FORMATS)


@dataclass(frozen=True)
class OutputOptions:
    """What is written of a result.

    Attributes:
        overlay: also the image with the outlines.
        probability: also the probabilities.
        volume_format: of masks of volumes.
        label_map: one file for all structures, instead of a mask each.
    """

    overlay: bool = False
    probability: bool = False
    volume_format: VolumeFormat = "nii.gz"
    label_map: bool = False


def file_endings(structures: Sequence[Structure], ending: str, options: OutputOptions) -> list[dict[str, str]]:
    """How the names of a result's files end: of each structure its ``mask``, ``overlay`` and ``probability``.

    Args:
        structures: of the result.
        ending: of the files of masks, e.g. ``png``.
        options: what is asked for.
    """
    found = []
    for part in (_ending(one, structures) for one in structures):
        mask = f"_labels.{ending}" if options.label_map else f"{part}_mask.{ending}"
        files = {"mask": mask, "overlay": "_overlay.png", "probability": f"{part}_probability.{ending}"}
        asked = {"mask": True, "overlay": options.overlay, "probability": options.probability}
        found.append({kind: files[kind] for kind in KINDS if asked[kind]})
    return found


def possible_endings(structures: Sequence[Structure]) -> set[str]:
    """Of all files that a result of these structures may be written to, whatever is asked for."""
    parts = {"", *(_ending(one, structures) for one in structures)}
    each = {f"{part}_{kind}.{ending}" for part in parts for kind in ("mask", "probability") for ending in _FORMATS}
    return each | {"_overlay.png"} | {f"_labels.{ending}" for ending in _FORMATS}


def name_of(mask: str, structure: str) -> str:
    """The name of a result, from that of its mask's file.

    Args:
        mask: the file, e.g. ``a_left_lung_mask.png``.
        structure: whose mask it is, where the result has several, e.g. ``left lung``.
    """
    part = f"_{Structure(structure).file_name}" if structure else ""
    endings = (f"{kind}.{ending}" for kind in (f"{part}_mask", "_labels") for ending in _FORMATS)
    return next((mask.removesuffix(one) for one in endings if mask.endswith(one)), mask)


def join_labels(source: str, masks: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One array for all structures: 0 is the background, 1, 2, 3 ... are the structures in their order.

    Args:
        source: what was segmented, for errors.
        masks: of each structure, 0 or 1, all of one shape.

    Raises:
        InputError: structures overlap, or there are more than 255.
    """
    if len(masks) > 255:
        raise InputError(source, f"has {len(masks)} structures", "write a mask each: a label map holds 255")
    names, labels = list(masks), np.zeros_like(next(iter(masks.values())))
    for value, name in enumerate(names, start=1):
        inside = masks[name] > 0
        there = labels[inside]
        if shared := np.count_nonzero(there):
            others = " and ".join(names[other - 1] for other in np.unique(there[there > 0]))
            reason = f"its {name} shares {counted(int(shared), 'pixel' if labels.ndim == 2 else 'voxel')} with {others}"
            raise InputError(source, reason, "leave out the label map: write a mask each")
        labels[inside] = value
    return labels


def _ending(structure: Structure, structures: Sequence[Structure]) -> str:
    """What a structure's files have in their names: ``_left_lung``; nothing where it is the only one."""
    return f"_{structure.file_name}" if len(structures) > 1 else ""
