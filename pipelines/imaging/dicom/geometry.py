"""Where the pixels of a DICOM image lie: distances, positions, orientations."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from .parsing import numbers, text

SpacingKind = Literal["patient", "detector", "region"]
Spacing = tuple[float, float]
Point = tuple[float, float, float]

_CENTIMETRES = 3  # PS3.3 C.8.5.5.1.15, Physical Units
_PROJECTIONS = frozenset({"CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"})


class Plane(NamedTuple):
    """A frame in the patient; mm in DICOM's LPS+.

    Attributes:
        position: the centre of the first pixel.
        along_row: the direction in which the columns count up, of length 1.
        along_column: the direction in which the rows count up, of length 1.
        spacing: distance of rows, of columns.
    """

    position: Point
    along_row: Point
    along_column: Point
    spacing: Spacing

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,), of length 1: the direction in which slices count up."""
        return np.cross(self.along_row, self.along_column)


def macro(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """A functional group of a frame of an enhanced multi-frame image, its own before the shared one."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in [*own[frame : frame + 1], *shared[:1]]:
        if group.get(keyword):
            item: Dataset = group[keyword][0]
            return item
    return None


def read_planes(dataset: Dataset, frames: int) -> tuple[Plane, ...] | None:
    """The plane of each frame; ``None`` where one has none, or directions that are not orthogonal and of length 1."""
    if frames > 1 and len(dataset.get("PerFrameFunctionalGroupsSequence") or []) != frames:
        return None
    planes = [_plane(dataset, frame) for frame in range(frames)]
    known = tuple(plane for plane in planes if plane)
    return known if len(known) == frames else None


def read_spacing(dataset: Dataset) -> tuple[Spacing | None, SpacingKind | None]:
    """The distance of rows and of columns in mm, and where it holds.

    ``patient``: in the patient. ``detector``: on the detector, not corrected for magnification (PS3.3 10.7.1.3); also
    what a projection calls PixelSpacing without saying that it was calibrated. ``region``: in the regions of an
    ultrasound image that are calibrated in cm, where they agree; not where one leaves the image, which was then made
    smaller or cut, and its regions were not.
    """
    measures = macro(dataset, 0, "PixelMeasuresSequence") or dataset
    spacing, detector = _positive(measures, "PixelSpacing"), _positive(dataset, "ImagerPixelSpacing")
    calibrated = text(measures, "PixelSpacingCalibrationType") or text(dataset, "PixelSpacingCalibrationType")
    if spacing:
        corrected = calibrated or (spacing != detector if detector else text(dataset, "Modality") not in _PROJECTIONS)
        return spacing, "patient" if corrected else "detector"
    if detector:
        return detector, "detector"
    listed = dataset.get("SequenceOfUltrasoundRegions") or []
    regions = {_region(region) for region in listed} - {None}
    if any(_leaves(dataset, region) for region in listed):
        return None, None
    found = next(iter(regions), None)
    if found and all(np.allclose(found, other, rtol=0.01) for other in regions if other):
        return found, "region"
    return None, None


def _plane(dataset: Dataset, frame: int) -> Plane | None:
    places, directions, measures = (
        macro(dataset, frame, name) or dataset
        for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    )
    position = numbers(places, "ImagePositionPatient", 3)
    orientation = numbers(directions, "ImageOrientationPatient", 6)
    spacing = _positive(measures, "PixelSpacing")
    if position is None or orientation is None or spacing is None:
        return None
    axes = np.reshape(orientation, (2, 3))
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        return None
    return Plane((*position,), (*orientation[:3],), (*orientation[3:],), spacing)  # type: ignore[arg-type]


def _positive(group: Dataset, keyword: str) -> Spacing | None:
    found = numbers(group, keyword, 2)
    return (found[0], found[1]) if found and min(found) > 0 else None


def _leaves(image: Dataset, region: Dataset) -> bool:
    """Whether a region ends outside the image; a pixel more is how some devices count."""
    ends = (("RegionLocationMaxX1", "Columns"), ("RegionLocationMaxY1", "Rows"))
    sides = [(numbers(region, end, 1), numbers(image, side, 1)) for end, side in ends]
    return any(end is not None and side is not None and end[0] > side[0] for end, side in sides)


def _region(region: Dataset) -> Spacing | None:
    units = {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")}
    deltas = numbers(region, "PhysicalDeltaY", 1), numbers(region, "PhysicalDeltaX", 1)
    if units != {_CENTIMETRES} or deltas[0] is None or deltas[1] is None or not (deltas[0][0] and deltas[1][0]):
        return None
    return 10 * abs(deltas[0][0]), 10 * abs(deltas[1][0])
