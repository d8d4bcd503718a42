"""One structure of one image, as metrics see it: what several of them need is computed once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from monai.metrics.utils import get_mask_edges, get_surface_distance
from numpy.typing import NDArray
from scipy import ndimage

Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.floating]


class Pixels(NamedTuple):
    """Pixels (voxels) that are foreground in both masks, in one of them, in none."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


class Lesions(NamedTuple):
    """Connected components of both masks, and how many of them belong together."""

    reference: int
    predicted: int
    matched: int


class Surface(NamedTuple):
    """The elements of a mask's surface: of each the distance to the other mask's surface, and its length (area)."""

    distance: Floats
    size: Floats


@dataclass(frozen=True, eq=False)
class Case:
    """A predicted and a reference mask on the image's own grid: (H, W), or (D, H, W) of a whole volume.

    Attributes:
        prediction: foreground where true.
        reference: of the same shape; what is not zero is foreground, so leave out planes that are not annotated (255).
        spacing: size of a pixel along each axis in mm, e.g. (rows, columns); ``None`` where it is not known.
        tolerance_mm: how far from the reference's surface a predicted one counts as correct in ``nsd_mm``.

    Raises:
        ValueError: the shapes, or their number of axes and that of the spacing, differ; a spacing is not positive.
    """

    prediction: Mask
    reference: Mask
    spacing: tuple[float, ...] | None = None
    tolerance_mm: float = 2.0

    def __post_init__(self) -> None:
        shape = self.reference.shape
        if self.prediction.shape != shape:
            raise ValueError(f"prediction is {self.prediction.shape}, reference {shape}; both have to be alike")
        if len(shape) not in (2, 3) or len(self.steps) != len(shape):
            raise ValueError(f"masks {shape} with spacing {self.spacing}: 2 or 3 axes with a spacing each are needed")
        if not all(0 < step < math.inf for step in self.steps):
            raise ValueError(f"spacing {self.spacing} mm; positive sizes of pixels are needed, None where not known")
        for name in ("prediction", "reference"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=bool))

    @cached_property
    def steps(self) -> tuple[float, ...]:
        """The spacing; 1 for each axis where it is not known."""
        return tuple(map(float, self.spacing)) if self.spacing is not None else (1.0,) * self.reference.ndim

    @cached_property
    def diagonal(self) -> float:
        """Length of the image's diagonal in mm; in pixels where the spacing is not known."""
        return math.hypot(*(count * step for count, step in zip(self.reference.shape, self.steps, strict=True)))

    @cached_property
    def counts(self) -> Pixels:
        """How many pixels agree, and how they differ."""
        both, predicted, reference = (
            int(np.count_nonzero(mask)) for mask in (self.prediction & self.reference, self.prediction, self.reference)
        )
        rest = self.reference.size - predicted - reference + both
        return Pixels(both, predicted - both, reference - both, rest)

    @cached_property
    def empty(self) -> tuple[bool, bool]:
        """Whether the prediction and the reference are empty."""
        both, false_positive, false_negative, _ = self.counts
        return both + false_positive == 0, both + false_negative == 0

    @cached_property
    def _cropped(self) -> tuple[Mask, Mask]:
        """Both masks in the box around them, with one pixel of background around it, as MONAI crops them."""
        either = self.prediction | self.reference
        axes = range(either.ndim)
        found = [np.flatnonzero(either.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
        box = tuple(slice(indices[0], indices[-1] + 1) for indices in found)
        return np.pad(self.prediction[box], 1), np.pad(self.reference[box], 1)

    @cached_property
    def distances(self) -> tuple[Floats, Floats]:
        """From each edge pixel of the prediction to the reference's edge, and the other way, as ``diagonal`` measures.

        Edge pixels are foreground pixels beside the background or at the image's border. Neither mask may be empty.
        """
        predicted, reference = get_mask_edges(*self._cropped, crop=False)
        return self._distance(predicted, reference), self._distance(reference, predicted)

    @cached_property
    def surfaces(self) -> tuple[Surface, Surface]:
        """The surfaces of prediction and reference, which run between the pixels. Neither mask may be empty."""
        masks = map(torch.from_numpy, self._cropped)
        with _plain_convolutions():
            found = [part.numpy() for part in get_mask_edges(*masks, crop=False, spacing=self.steps)]
        predicted, reference, of_predicted, of_reference = found
        return (
            Surface(self._distance(predicted, reference), of_predicted[predicted]),
            Surface(self._distance(reference, predicted), of_reference[reference]),
        )

    def _distance(self, edges: Mask, to: Mask) -> Floats:
        found: Floats = get_surface_distance(edges, to, spacing=self.steps)
        return found

    @cached_property
    def lesions(self) -> Lesions:
        """Components that touch at sides or corners; two belong together where their IoU is above 0.5.

        So none belongs to two (Kirillov et al. 2019, DOI 10.1109/CVPR.2019.00963).
        """
        if all(self.empty):
            return Lesions(0, 0, 0)
        touching = np.ones((3,) * self.reference.ndim, dtype=bool)
        (predicted, n_predicted), (reference, n_reference) = (ndimage.label(mask, touching) for mask in self._cropped)
        shared = (predicted > 0) & (reference > 0)
        pairs = np.stack([predicted[shared], reference[shared]]).astype(np.int64)
        codes, overlap = np.unique(pairs[0] * (n_reference + 1) + pairs[1], return_counts=True)
        first, second = np.divmod(codes, n_reference + 1)
        union = np.bincount(predicted.ravel())[first] + np.bincount(reference.ravel())[second] - overlap
        return Lesions(n_reference, n_predicted, int(np.count_nonzero(2 * overlap > union)))


@contextmanager
def _plain_convolutions() -> Iterator[None]:
    """Keep oneDNN from MONAI's convolution: it compiles one for each size of mask and holds on to it, 0.2 MB each."""
    set_flags: Any = torch.backends.mkldnn.set_flags
    enabled, *_ = set_flags(False, _fp32_precision=None)
    try:
        yield
    finally:
        set_flags(enabled, _fp32_precision=None)
