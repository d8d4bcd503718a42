"""Subgroups that were given before the scores were known: by class, by size, by any other column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .scored import Evaluation, numbers

SIZE = "size"
SIZES = ("empty", "small", "medium", "large")
LEAST = 20
"""Images of which a mean is shown."""
NOT_KNOWN = "not known"


class Subgroup(NamedTuple):
    """Images that have the same value in a column.

    Attributes:
        column: its name.
        value: in the column.
        members: (N,), which images.
        share: of a size, the least and the greatest share of the image that the reference has there.
    """

    column: str
    value: str
    members: NDArray[np.bool_]
    share: tuple[float, float] | None = None


def subgroups_of(evaluation: Evaluation, suffixes: Sequence[str]) -> list[Subgroup]:
    """The subgroups that the settings of an evaluation ask for; by class, source and size, where there are such,
    by default.

    Args:
        evaluation: its settings' ``subgroups`` are names of columns; `SIZE` is that of the reference.
        suffixes: of the structures whose size counts.
    """
    asked = evaluation.settings.get("subgroups")
    found = [
        subgroup
        for column in (["class", "source", SIZE] if asked is None else asked)
        for subgroup in (_sizes(evaluation, suffixes) if column == SIZE else _values(evaluation, column))
    ]
    several = {column for column in (one.column for one in found) if [one.column for one in found].count(column) > 1}
    return [one for one in found if asked is not None or one.column in several]


def _values(evaluation: Evaluation, column: str) -> list[Subgroup]:
    """The values of a column, in their order; what has none last."""
    of_images = np.array([str(row.get(column) or "") for row in evaluation.rows], np.object_)
    values = sorted(set(of_images) - {""}, key=_in_order)
    if not values:
        return []
    rest = [""] if "" in of_images else []
    return [Subgroup(column, value or NOT_KNOWN, of_images == value) for value in [*values, *rest]]


def _in_order(text: str) -> tuple[Any, ...]:
    """Numbers by their value, before words."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _sizes(evaluation: Evaluation, suffixes: Sequence[str]) -> list[Subgroup]:
    """Thirds of the images by the share of the image that the reference has; those without any apart.

    Of several structures the shares are added.
    """
    areas = numbers(evaluation.rows, [f"reference_pixels{suffix}" for suffix in suffixes])
    pixels = numbers(evaluation.rows, ["pixels"])[:, 0]
    shares = np.where(np.isfinite(areas).any(1), np.nansum(areas, 1), np.nan) / pixels
    there = shares > 0
    if not there.any():
        return []
    bounds = np.quantile(shares[there], (1 / 3, 2 / 3))
    which = np.where(there, 1 + np.searchsorted(bounds, shares), np.where(shares == 0, 0, -1))
    found = [(name, which == index) for index, name in enumerate(SIZES)]
    return [
        Subgroup(SIZE, name, members, (float(shares[members].min()), float(shares[members].max())))
        for name, members in found
        if members.any()
    ]
