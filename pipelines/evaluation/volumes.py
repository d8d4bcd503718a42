"""Volumes as a whole, beside the slices that were scored of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..imaging.item import Item
from ..imaging.reading import open_volume
from ..imaging.structures import UNANNOTATED
from ..imaging.volumes.planes import plane_axis, plane_count, plane_spacing
from ..imaging.volumes.slicing import Slicing
from .case import Case, Pixels
from .metrics import METRICS, measure
from .scored import Evaluation, Row, columns_of

Bytes = NDArray[np.uint8]
VolumeKey = tuple[str, str]

_SHARED = ("image", "series", "group", "class", "source", "slices")


class _Sums(NamedTuple):
    """What metrics that need only counts see of a volume."""

    counts: Pixels
    spacing: None = None

    @property
    def empty(self) -> tuple[bool, bool]:
        """Whether the prediction and the reference are empty."""
        both, false_positive, false_negative, _ = self.counts
        return both + false_positive == 0, both + false_negative == 0


def volumes_of(evaluation: Evaluation) -> Evaluation | None:
    """Each volume as one image: ``None`` where no slices of volumes were scored.

    Dice and the like are those of all voxels of the slices that were scored. Distances are measured in 3D, where all
    slices of a volume were.
    """
    slices: dict[VolumeKey, list[Row]] = {}
    for row in evaluation.rows:
        if row.get("slices"):
            slices.setdefault(key_of(row), []).append(row)
    if not slices:
        return None
    whole = {key_of(row): row for row in evaluation.volumes}
    rows = [_row(of_volume, evaluation.suffixes) | whole.get(key, {}) for key, of_volume in slices.items()]
    there = [name for name in METRICS if any(name in row for row in rows)]
    return Evaluation(rows, there, evaluation.structures)


def key_of(row: Row) -> VolumeKey:
    """What names a volume."""
    return row["image"], row.get("series") or ""


def _row(slices: Sequence[Row], suffixes: Sequence[str]) -> Row:
    """A volume, from the counts of its slices."""
    found: Row = {key: slices[0][key] for key in _SHARED if slices[0].get(key) is not None}
    found["scored_slices"] = len(slices)
    scores: dict[str, list[float | None]] = {name: [] for name, one in METRICS.items() if one.of_counts}
    for suffix in suffixes:
        annotated = [row for row in slices if row.get(f"reference_pixels{suffix}") is not None]
        reference, predicted, both = (
            sum(int(row[f"{which}_pixels{suffix}"]) for row in annotated)
            for which in ("reference", "predicted", "overlap")
        )
        every = sum(int(row["pixels"]) for row in annotated)
        sums = _Sums(Pixels(both, predicted - both, reference - both, every - predicted - reference + both))
        found |= {f"reference_pixels{suffix}": reference, f"predicted_pixels{suffix}": predicted} if annotated else {}
        for name, values in scores.items():
            values.append(METRICS[name].score(cast(Case, sums)) if annotated else None)
    return found | _columns(scores, suffixes)


def _columns(scores: dict[str, list[float | None]], suffixes: Sequence[str]) -> Row:
    found: Row = {}
    for name, values in scores.items():
        found |= columns_of(name, values, suffixes)
    return found


class VolumeMasks:
    """The masks of the volume whose slices are being scored, a bit a voxel; when all are there, it is scored in 3D.

    Args:
        suffixes: of the columns of each structure.
        tolerance_mm: of the normalised surface Dice.
    """

    def __init__(self, suffixes: Sequence[str], tolerance_mm: float) -> None:
        self.suffixes, self.tolerance_mm = suffixes, tolerance_mm
        self.rows: list[Row] = []
        self._key: VolumeKey | None = None
        self._planes: dict[int, tuple[Bytes, Bytes]] = {}

    def add(self, row: Row, item: Item, slicing: Slicing, prediction: Bytes, reference: Bytes) -> None:
        """Take a slice of masks (S, H, W), whose row has ``slice`` and ``slices``.

        A volume is scored as soon as its last slice has come; slices of another one drop what was there before.
        """
        if key_of(row) != self._key:
            self._key, self._planes = key_of(row), {}
        self._planes[int(row["slice"])] = (np.packbits(prediction == 1), np.packbits(reference == 1))
        if (reference == UNANNOTATED).any():
            self._planes.pop(int(row["slice"]))  # nobody drew it, so the volume has no surface
        if len(self._planes) == row["slices"]:
            self.rows.append(self._score(row, item, slicing, prediction.shape))
            self._planes = {}

    def _score(self, row: Row, item: Item, slicing: Slicing, shape: tuple[int, ...]) -> Row:
        """Scores of all structures; without a spacing, none would say how far slices are apart."""
        spacing = _spacing(item, slicing)
        scores: dict[str, list[float | None]] = {}
        planes = [self._planes[index] for index in sorted(self._planes)]
        for structure in range(shape[0]):
            prediction, reference = (
                np.stack([_unpacked(plane[side], shape)[structure] for plane in planes]) for side in (0, 1)
            )
            for name, value in measure(Case(prediction, reference, spacing, self.tolerance_mm)).items():
                scores.setdefault(name, []).append(value)
        return {key: row[key] for key in ("image", "series") if key in row} | _columns(scores, self.suffixes)


def _unpacked(bits: Bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)


def slice_count(item: Item, slicing: Slicing) -> int | None:
    """How many slices the volume has that a slice is of; ``None`` where it is no slice of a volume."""
    if item.slice is None or slicing.axis is None or not item.file.exists() or item.kind != "volume":
        return None
    return plane_count(open_volume(item.file, item.series), slicing.axis)


def _spacing(item: Item, slicing: Slicing) -> tuple[float, float, float] | None:
    """From slice to slice, between rows and between columns, in mm."""
    if slicing.axis is None:
        return None
    affine = open_volume(item.file, item.series).affine
    across = float(np.linalg.norm(affine[:3, plane_axis(affine, slicing.axis)]))
    return (across, *plane_spacing(affine, slicing.axis))
