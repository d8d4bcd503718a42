"""Masks of known shapes, and pairs of any."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from delineate.pipelines.evaluation.case import Case
from delineate.pipelines.evaluation.metrics import METRICS, measure

FEW = settings(max_examples=15, deadline=None)  # each measures a case or two
Mask = NDArray[np.bool_]


def box(shape: tuple[int, ...], *sides: tuple[int, int]) -> Mask:
    """A rectangle (cuboid) from the first index of each side up to the second, which is not in it."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def disc(shape: tuple[int, int], centre: tuple[int, int], radius: float) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2)


def score(name: str, prediction: Mask, reference: Mask, spacing: Any = None, **more: Any) -> float | None:
    return METRICS[name].score(Case(prediction, reference, spacing, **more))


def measured(case: Case) -> dict[str, float]:
    """The metrics that apply to a case."""
    return {name: value for name, value in measure(case).items() if value is not None}


SPACINGS = st.floats(0.1, 5).map(lambda step: round(step, 2))


@st.composite
def cases(draw: st.DrawFn, axes: int = 2, empty: bool = False) -> Case:
    """Small masks, at the border and of several parts; with a spacing or without; none of them empty, unless asked."""
    shape = draw(array_shapes(min_dims=axes, max_dims=axes, min_side=1, max_side=7))
    prediction, reference = (
        draw(arrays(np.bool_, shape, elements=st.booleans(), fill=st.booleans())) for _ in range(2)
    )
    if not empty:
        for mask in (prediction, reference):
            mask[draw(st.tuples(*(st.integers(0, side - 1) for side in shape)))] = True
    spacing = draw(st.none() | st.tuples(*[SPACINGS] * axes))
    return Case(prediction, reference, spacing, draw(SPACINGS))
