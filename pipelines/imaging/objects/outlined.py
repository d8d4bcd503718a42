"""What goes into an object: masks, the frames they are of, and the model that made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from ..structures import Structure

SegType = Literal["binary", "fractional", "labelmap"]
_OURS = UUID("6c0c41a5-7f4a-5a35-9f0c-4c8d3b3d3f0e")  # the name space of our UIDs; another one gives other UIDs


@dataclass(frozen=True)
class Model:
    """What made the masks.

    Attributes:
        name: of the bundle.
        version: of the bundle.
        hash: SHA-256 over its configuration and weights; empty where it is not known.
        thresholds: of the probabilities, by the names of structures.
        delineate: version of this package.
        members: of an ensemble: the hashes of what it is made of.
        tta: of which views of an image probabilities are the mean; empty where of none.
        backend: what computed the network: runtime, version, precision; empty where it is not known.
    """

    name: str = "unknown"
    version: str = "unknown"
    hash: str = ""
    thresholds: tuple[tuple[str, float], ...] = ()
    delineate: str = ""
    members: tuple[str, ...] = ()
    tta: str = ""
    backend: str = ""

    def parameters(self) -> dict[str, str]:
        """What it was used with, and what it is made of, in words."""
        found = {f"threshold {name}".strip(): f"{value:.10g}" for name, value in self.thresholds}
        found |= {"test-time augmentation": self.tta} if self.tta else {}
        found |= {"computed by": self.backend} if self.backend else {}
        return found | {f"member {place} SHA-256": member for place, member in enumerate(self.members, start=1)}


UNKNOWN = Model()


class Picture(NamedTuple):
    """An image, or a slice of a volume, as one shows it to a person.

    Attributes:
        pixels: (H, W, 3), 0-255.
        frames: the places, in ``Outlined.frames``, of what it shows.
        orientation: where its rows and its columns run to (PS3.3 C.7.6.1.1.1); empty where only the source knows.
    """

    pixels: NDArray[np.uint8]
    frames: Sequence[int]
    orientation: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Outlined:
    """A result, as objects hold it.

    Attributes:
        source: what was segmented, for errors.
        frames: file and frame, from 0, of each plane of the masks; none where the source is no DICOM.
        masks: (S, F, R, C) uint8, 0 or 1.
        probabilities: (S, F, R, C) float32, 0-1.
        structures: in the order of the masks.
        model: what made them.
        picture: the image with the outlines drawn in.
        seg_type: of a SEG.
        spacing: distances in the patient, mm, of rows and columns, of a series of frames before these; ``None`` where
            they are not known.
    """

    source: str
    frames: tuple[tuple[Path, int], ...]
    masks: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    structures: tuple[Structure, ...]
    model: Model
    picture: Callable[[], Picture]
    seg_type: SegType = "binary"
    spacing: tuple[float, ...] | None = None

    def uid(self, *parts: object) -> str:
        """A UID made of a text of these parts: the same for the same, whenever and wherever."""
        return f"2.25.{uuid5(_OURS, json.dumps([asdict(self.model), *parts], default=str)).int}"

    def digest(self) -> str:
        """Of the masks, and of the probabilities where they are written: other pixels are another object."""
        pixels = self.probabilities if self.seg_type == "fractional" else self.masks
        return sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
