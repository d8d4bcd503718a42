"""The images in which networks differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .judged import Judged, Row, values

LISTED = 12
"""Of each pair."""


def largest_differences(
    judged: Sequence[Judged], tables: Sequence[Sequence[Row]], pairs: Sequence[Mapping[str, Any]]
) -> list[list[dict[str, Any]]]:
    """Of each pair the images that differ most in the first metric, the largest difference first; none that is equal.

    Args:
        judged: the evaluations.
        tables: their rows, those of one image at the same place.
        pairs: the comparisons, with the differences of each image.
    """
    of = {one.name: rows for one, rows in zip(judged, tables, strict=True)}
    metric = pairs[0]["metric"]
    return [_of_pair(pair, of[pair["a"]], of[pair["b"]]) for pair in pairs if pair["metric"] == metric]


def _of_pair(pair: Mapping[str, Any], ours: Sequence[Row], theirs: Sequence[Row]) -> list[dict[str, Any]]:
    sizes = np.nan_to_num(np.abs(pair["per_image"]))
    order = [int(index) for index in np.argsort(-sizes, kind="stable")[:LISTED] if sizes[index] > 0]
    return [
        {
            **{name: pair[name] for name in ("a", "b", "metric")},
            "row": index,
            **{name: ours[index].get(name) or None for name in ("image", "series", "slice")},
            "a_value": values([ours[index]], pair["metric"])[0],
            "b_value": values([theirs[index]], pair["metric"])[0],
            "difference": float(pair["per_image"][index]),
            "picture": None,
        }
        for index in order
    ]
