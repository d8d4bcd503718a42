"""The interval of a mean score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def value_text(score: Mapping[str, Any]) -> str:
    """A score's mean: ``0.8650``."""
    return "undefined" if score["value"] is None else f"{score['value']:.4f}"


def interval_text(score: Mapping[str, Any]) -> str:
    """The interval of a score as `mean_with_interval` gives it: ``0.8450 - 0.8940``."""
    if score["value"] is None:
        return "undefined"
    text = "{:.4f} - {:.4f}".format(*score["ci95"]) if score["ci95"] else "unknown: one group"
    return text + (f" ({score['undefined']} undefined)" if score.get("undefined") else "")


def mean_with_interval(
    values: ArrayLike, groups: Sequence[str] | None = None, resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Mean of per-image values with its 95 % percentile bootstrap interval.

    Whole groups are drawn, because images of one patient are not independent.
    Efron B, Tibshirani R. Bootstrap Methods for Standard Errors. Stat Sci 1986, https://doi.org/10.1214/ss/1177013815.

    Args:
        values: one value an image, (N,), or one a structure, (N, S), of which the mean over structures of the mean
            over images is taken. What is not finite is left out.
        groups: the group of each image; each image is its own where ``None``.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Returns:
        ``{"value": mean, "ci95": [low, high]}``; of a single group ``"ci95"`` is ``None``: nothing tells how far
        another would lie. Without any value both are ``None``.

    Raises:
        ValueError: when there are no images, or not as many groups.
    """
    table = np.asarray(values, np.float64)
    if not len(table) or (groups is not None and len(groups) != len(table)):
        raise ValueError(f"got {len(table)} values and {None if groups is None else len(groups)} groups")
    names = np.asarray(groups if groups is not None else np.arange(len(table)))
    table = table.reshape(len(table), -1)
    scored = np.isfinite(table).any(1)
    if not scored.any():
        return {"value": None, "ci95": None}
    columns, known = table[scored].T, np.isfinite(table[scored].T)
    value = float(np.mean([column[there].mean() for column, there in zip(columns, known, strict=True) if there.any()]))
    _, which = np.unique(names[scored], return_inverse=True)
    sums = np.array([np.bincount(which, weights=column) for column in np.where(known, columns, 0)], np.float64)
    counts = np.array([np.bincount(which, weights=there) for there in known], np.float64)
    if sums.shape[1] < 2:
        return {"value": value, "ci95": None}
    low, high = np.quantile(_resampled(sums, counts, resamples, seed), (0.025, 0.975))
    return {"value": value, "ci95": [float(low), float(high)]}


def _resampled(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    """The mean of each bootstrap sample, from the groups' sums and counts, both (S, groups)."""
    rng, groups = np.random.default_rng(seed), sums.shape[1]
    means = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(0, groups, groups)
        total, count = sums.take(drawn, 1).sum(1), counts.take(drawn, 1).sum(1)
        means[i] = (total[count > 0] / count[count > 0]).mean()
    return means
