"""What was scored: the rows of ``per_image.csv``, and the sums that do not fit into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..imaging.item import Item
from ..imaging.reading import read_picture
from ..imaging.structures import UNANNOTATED, Structure
from ..imaging.volumes.slicing import Slicing

Row = dict[str, Any]
Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

MOST = 12
"""Of the worst images."""
TEXT = ("image", "series", "group", "class", "source")
"""The columns of a row that are text; so are ``outcome`` and those that a user names."""

OUTCOMES = ("found", "missed", "false alarm", "rightly empty")
"""What became of a structure in an image, by whether the reference and the prediction hold any of it."""


@dataclass(frozen=True)
class Worst:
    """One of the images with the lowest Dice.

    Attributes:
        row: its place in the rows.
        item: the image, to be read again.
        slicing: how volumes became images.
        structures: of the masks.
        shape: of the masks, (S, H, W).
        masks: prediction and reference, a bit a pixel; ``None`` where only the picture is left.
        annotated: which structures have a reference.
        picture: the PNG that an earlier evaluation drew.
    """

    row: int
    item: Item | None = None
    slicing: Slicing = field(default_factory=Slicing)
    structures: Sequence[Structure] = ()
    shape: tuple[int, ...] = ()
    masks: tuple[Bytes, Bytes] | None = None
    annotated: tuple[bool, ...] = ()
    picture: Path | None = None

    @classmethod
    def of(cls, row: int, item: Item, prediction: Bytes, reference: Bytes, **more: Any) -> Worst:
        """Keep masks (S, H, W), 0 or 1 and of the reference 255 where a structure is not annotated."""
        masks = (np.packbits(prediction == 1), np.packbits(reference == 1))
        annotated = tuple(bool(plane.flat[0] != UNANNOTATED) for plane in reference)
        return cls(row, item, shape=prediction.shape, masks=masks, annotated=annotated, **more)

    @property
    def prediction(self) -> Bytes:
        """(S, H, W), 0 or 1."""
        return self._unpacked(0)

    @property
    def reference(self) -> Bytes:
        """(S, H, W), 0 or 1; 255 where a structure is not annotated."""
        masks = self._unpacked(1)
        masks[~np.array(self.annotated)] = UNANNOTATED
        return masks

    def image(self) -> Bytes:
        """(H, W, 3), 0-255, read again; black where it is gone or of another size by now."""
        blank = np.zeros((*self.shape[1:], 3), np.uint8)
        try:
            found = read_picture(self.item, self.slicing) if self.item else blank
        except InputError:
            return blank
        return found if found.shape == blank.shape else blank

    def _unpacked(self, which: int) -> Bytes:
        if self.masks is None:
            raise ValueError(f"of row {self.row} the picture is left, not the masks")
        return np.unpackbits(self.masks[which], count=int(np.prod(self.shape))).reshape(self.shape)


@dataclass
class Evaluation:
    """What was scored. All that `metrics.json` says follows from it, so that evaluations can be merged.

    Attributes:
        rows: of ``per_image.csv``, in its order; what has no value is absent or ``None``.
        metrics: the names of the scores in them; of several structures ``NAME`` is the mean over them, and
            ``NAME_left_lung`` each.
        structures: those of the masks; of one that has no name, none.
        histograms: how many pixels of the reference's foreground and background have which probability, (S, 2, 256);
            ``None`` where it is not known.
        facts: what ``metrics.json`` says beside the scores: split, refused, settings, provenance ...
        worst: the images with the lowest Dice, the lowest first.
        volumes: rows of ``per_volume.csv``: what was scored in 3D, of volumes by ``image`` and ``series``.
    """

    rows: list[Row]
    metrics: list[str]
    structures: tuple[Structure, ...] = ()
    histograms: NDArray[np.int64] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    worst: list[Worst] = field(default_factory=list)
    volumes: list[Row] = field(default_factory=list)

    @property
    def suffixes(self) -> list[str]:
        """What the columns of each structure end with."""
        return suffixes_of(self.structures)

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for: ``subgroups``, ``failures``, ``tolerance_mm`` ..."""
        return self.facts.get("settings") or {}

    @property
    def groups(self) -> list[str]:
        """Of each image its group; one without is its own."""
        return [row.get("group") or row["image"] for row in self.rows]


def suffixes_of(structures: Sequence[Structure]) -> list[str]:
    """What the columns of each structure end with: nothing where there is one."""
    return [f"_{one.file_name}" for one in structures] if len(structures) > 1 else [""]


def numbers(rows: Sequence[Row], columns: Sequence[str]) -> Floats:
    """Columns of a table, (N, columns), NaN where there is no value."""
    return np.array([[_number(row.get(column)) for column in columns] for row in rows], np.float64).reshape(
        len(rows), len(columns)
    )


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def columns_of(name: str, values: Sequence[float | None], suffixes: Sequence[str]) -> Row:
    """The columns of a score: of several structures the mean of those that have a value, and each."""
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if known else None
    return {name: mean, **{f"{name}{suffix}": value for suffix, value in zip(suffixes, values, strict=True)}}
