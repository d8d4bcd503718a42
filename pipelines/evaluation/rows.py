"""What a row of ``per_image.csv`` says of an image's masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.structures import UNANNOTATED
from .case import Case
from .metrics import METRICS, measure
from .scored import OUTCOMES, Row, columns_of

COUNTS = ("reference_pixels", "predicted_pixels", "overlap_pixels", "outcome")
LESIONS = ("reference_lesions", "predicted_lesions", "matched_lesions")


def score_masks(
    prediction: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    suffixes: Sequence[str],
    spacing: tuple[float, float] | None = None,
    tolerance_mm: float = 2.0,
) -> Row:
    """Counts and scores of the masks of an image.

    Args:
        prediction: (S, H, W), 0 or 1.
        reference: the same; 255 throughout where a structure is not annotated, which then has no score.
        suffixes: of the columns of each structure.
        spacing: distances between rows and between columns, mm.
        tolerance_mm: of the normalised surface Dice.

    Returns:
        the columns in their order; ``None`` where there is no value.
    """
    known: list[dict[str, Any]] = []
    for predicted, drawn in zip(prediction == 1, reference, strict=True):
        case = None if drawn.flat[0] == UNANNOTATED else Case(predicted, drawn == 1, spacing, tolerance_mm)
        known.append(_of(case) if case else {"predicted_pixels": int(predicted.sum())})
    row: Row = {f"{name}{s}": one.get(name) for name in COUNTS for s, one in zip(suffixes, known, strict=True)}
    row |= {"pixels": int(reference[0].size), "pixel_mm2": None if spacing is None else spacing[0] * spacing[1]}
    row |= {f"{name}{s}": one.get(name) for name in LESIONS for s, one in zip(suffixes, known, strict=True)}
    for name in METRICS:
        row |= columns_of(name, [one.get(name) for one in known], suffixes)
    return row


def _of(case: Case) -> dict[str, Any]:
    """Counts and scores of one structure."""
    both, false_positive, false_negative, _ = case.counts
    no_prediction, no_reference = case.empty
    counts = (both + false_negative, both + false_positive, both, OUTCOMES[2 * no_reference + no_prediction])
    return dict(zip((*COUNTS, *LESIONS), (*counts, *case.lesions), strict=True)) | measure(case)
