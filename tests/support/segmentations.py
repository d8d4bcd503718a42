"""Results without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from delineate.pipelines.imaging.item import Item
from delineate.pipelines.imaging.structures import structures_of
from delineate.pipelines.inference.outputs import Segmentation


def segmentation(
    source: str | Path, mask: np.ndarray, probability: np.ndarray | None = None, name: str | None = None, **more: Any
) -> Segmentation:
    """Of one structure that has no name; its probability is its mask unless given."""
    probability = mask.astype(np.float32) if probability is None else probability
    item = more.pop("item", Item.of(source))
    return Segmentation(str(source), name or Path(source).stem, {"": mask}, {"": probability}, item, **more)


def several(source: str | Path, masks: dict[str, np.ndarray], name: str | None = None, **more: Any) -> Segmentation:
    """Of structures with names; their probabilities are their masks."""
    structures = structures_of([{"name": one} for one in masks])
    probabilities = {one: mask.astype(np.float32) for one, mask in masks.items()}
    item = more.pop("item", Item.of(source))
    return Segmentation(str(source), name or Path(source).stem, masks, probabilities, item, structures, **more)
