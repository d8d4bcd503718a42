"""The results of images, one by one, and of a volume's slices, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..imaging.objects import Model
from ..imaging.reading import open_volume
from ..imaging.structures import Structure, structures_of
from ..imaging.volumes.planes import put_plane
from .outputs import Fields, Segmentation, grid_of


class Assembler:
    """Puts the results of a volume's slices together; those of other images pass.

    A volume is given out when all its slices have come; one with a slice that was refused never is.

    Args:
        structures: of the bundle, in the order of the channels; none where there is one, which has no name.
        model: what the results are made by, where that is known.
    """

    def __init__(
        self, structures: Sequence[Mapping[str, Any] | Structure] | None = None, model: Model | None = None
    ) -> None:
        self._structures, self._model = structures_of(structures), model
        self._open: dict[str, tuple[Segmentation, list[float | None]]] = {}

    def add(self, output: Fields) -> Segmentation | None:
        """Take one item after postprocessing.

        Returns:
            the result of the image, or of the volume that it completes; ``None`` where slices are still to come.
        """
        plane, meta = Segmentation.from_output(output, self._structures, self._model), output["image"].meta
        if "slices" not in meta:
            return plane
        whole, distances = self._open.pop(plane.name) if plane.name in self._open else (_empty(plane), [])
        distances.append(plane.feature_distance)
        affine, axis = grid_of(whole)
        for name in plane.masks:
            put_plane(whole.masks[name], affine, axis, meta["slice"], plane.masks[name])
            put_plane(whole.probabilities[name], affine, axis, meta["slice"], plane.probabilities[name])
        if len(distances) == meta["slices"]:
            known = [distance for distance in distances if distance is not None]
            return replace(whole, feature_distance=float(np.median(known)) if known else None)
        self._open[plane.name] = (whole, distances)
        return None


def _empty(plane: Segmentation) -> Segmentation:
    """A volume's result with no foreground yet."""
    volume = open_volume(plane.item.file, plane.item.series)
    grid = volume.voxels.shape[:3]
    return Segmentation(
        plane.source,
        plane.name,
        {name: np.zeros(grid, np.uint8) for name in plane.masks},
        {name: np.zeros(grid, np.float32) for name in plane.masks},
        plane.item,
        plane.structures,
        tuple(np.linalg.norm(volume.affine[:3, :3], axis=0).tolist()),
        plane.slicing,
        volume,
        model=plane.model,
    )
