"""The intervals of mean scores: one set of draws for all that is scored on the same images."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

Floats = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

RESAMPLES = 10_000
_AT_ONCE = 1 << 20  # draws that are held, 8 MB


def value_text(score: Mapping[str, Any]) -> str:
    """A score's mean: ``0.8650``."""
    return "undefined" if score["value"] is None else f"{score['value']:.4f}"


def interval_text(score: Mapping[str, Any]) -> str:
    """The interval of a score as `mean_with_interval` gives it: ``0.8450 - 0.8940``."""
    if score["value"] is None:
        return "undefined"
    text = "{:.4f} - {:.4f}".format(*score["ci95"]) if score["ci95"] else "no interval: only one image or patient"
    return text + (f" ({score['undefined']} undefined)" if score.get("undefined") else "")


def mean_with_interval(
    values: ArrayLike, groups: Sequence[str] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Mean of per-image values with its 95 % percentile bootstrap interval; see `means_with_intervals`."""
    return means_with_intervals({"": values}, groups, resamples, seed)[""]


def means_with_intervals(
    tables: Mapping[Key, ArrayLike],
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Key, dict[str, Any]]:
    """Means of per-image values with their 95 % percentile bootstrap intervals.

    Whole groups are drawn, because images of one patient are not independent; all tables with values of the same images
    see the same draws. Efron B, Tibshirani R. Bootstrap Methods for Standard Errors. Stat Sci 1986,
    https://doi.org/10.1214/ss/1177013815.

    Args:
        tables: values by name: one an image, (N,), or one a structure, (N, S), of which the mean over structures of the
            mean over images is taken. What is not finite is left out.
        groups: the group of each image; each image is its own where ``None``.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Returns:
        of each name ``{"value": mean, "ci95": [low, high]}``; of a single group ``"ci95"`` is ``None``: nothing tells
        how far another would lie. Without any value both are ``None``.

    Raises:
        ValueError: when there are no images, or not as many groups.
    """
    names: NDArray[Any] | None = None if groups is None else np.asarray(groups)
    found: dict[Key, dict[str, Any]] = {}
    alike: dict[bytes, dict[Key, Floats]] = {}
    for key, values in tables.items():
        table = np.asarray(values, np.float64)
        if not len(table) or (names is not None and len(names) != len(table)):
            raise ValueError(f"got {len(table)} values and {None if names is None else len(names)} groups")
        table = table.reshape(len(table), -1)
        found[key] = {"value": _mean(table), "ci95": None}
        alike.setdefault(np.isfinite(table).any(1).tobytes(), {})[key] = table
    for mask, of_these in alike.items():
        scored = np.frombuffer(mask, bool)
        of = np.arange(len(scored)) if names is None else names
        _, which = np.unique(of[scored], return_inverse=True)
        if scored.any() and which.max() > 0:
            for key, means in _resampled({k: t[scored] for k, t in of_these.items()}, which, resamples, seed).items():
                found[key]["ci95"] = [float(bound) for bound in np.quantile(means, (0.025, 0.975))]
    return found


def exact_interval(share: float, groups: int) -> list[float]:
    """The 95 % interval of a share of 0 or 1, whose resamples never differ: that of as many groups, all alike.

    Clopper CJ, Pearson ES. The use of confidence or fiducial limits illustrated in the case of the binomial. Biometrika
    1934, https://doi.org/10.1093/biomet/26.4.404.
    """
    bounds = binomtest(round(share * groups), groups).proportion_ci(method="exact")
    return [float(bounds.low), float(bounds.high)]


def _mean(table: Floats) -> float | None:
    """The mean over columns of their means; ``None`` where nothing is finite."""
    known = [column[np.isfinite(column)] for column in table.T]
    means = [column.mean() for column in known if len(column)]
    return float(np.mean(means)) if means else None


def _resampled(tables: Mapping[Key, Floats], which: NDArray[np.intp], resamples: int, seed: int) -> dict[Key, Floats]:
    """The means of bootstrap samples, (resamples,), of tables (N, S), image n of which is of group ``which[n]``."""
    known = {key: np.isfinite(table) for key, table in tables.items()}
    counts = {column.tobytes(): _of_groups(column, which) for table in known.values() for column in table.T}
    sums = {key: [_of_groups(one, which) for one in np.where(known[key], tables[key], 0).T] for key in tables}
    groups, rng = int(which.max()) + 1, np.random.default_rng(seed)
    means = {key: np.empty(resamples) for key in tables}
    step = max(_AT_ONCE // groups, 1)
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        drawn = rng.integers(0, groups, (part.stop - part.start, groups))
        drawn_counts = {column: count.take(drawn).sum(1) for column, count in counts.items()}
        for key, of_structures in sums.items():
            totals = np.stack([one.take(drawn).sum(1) for one in of_structures], 1)
            means[key][part] = _ratios(totals, np.stack([drawn_counts[one.tobytes()] for one in known[key].T], 1))
    return means


def _of_groups(column: NDArray[Any], which: NDArray[np.intp]) -> Floats:
    return np.asarray(np.bincount(which, weights=column), np.float64)


def _ratios(totals: Floats, counts: Floats) -> Floats:
    """Of each sample, both (samples, S), the mean over the structures that it has a value of."""
    if counts.all():  # as usual; to look for patterns takes ten times as long as the means
        return np.asarray(np.ascontiguousarray(totals / counts).mean(1))
    patterns, which = np.unique(counts > 0, axis=0, return_inverse=True)
    means = np.empty(len(totals))
    for index, there in enumerate(patterns):
        rows = which.ravel() == index
        means[rows] = np.ascontiguousarray(totals[rows][:, there] / counts[rows][:, there]).mean(1)
    return means
