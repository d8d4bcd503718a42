"""Whether a paired difference is shown, and how many groups would show it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

ALPHA, POWER = 0.05, 0.8
SOURCES = {
    "Wilcoxon signed-rank test": "https://doi.org/10.2307/3001968",
    "zeros as of Pratt": "https://doi.org/10.1080/01621459.1959.10501526",
    "Holm's correction": "https://www.jstor.org/stable/4615733",
    "groups needed, Noether": "https://doi.org/10.1080/01621459.1987.10478478",
}

Floats = NDArray[np.float64]


def signed_rank(differences: ArrayLike) -> float:
    """The p value, 0-1, of the two-sided Wilcoxon signed-rank test that differences are symmetric about 0.

    Differences of 0 are ranked and their ranks dropped: two networks that are equally right in most images (both find
    nothing where nothing is) are alike there, and a test that leaves such images out does not see it.
    Pratt JW, J Am Stat Assoc 1959, https://doi.org/10.1080/01621459.1959.10501526.

    Args:
        differences: one for each independent group, (N,). It is exact up to 50 without ties or zeros and up to 13 with
            them, else a normal approximation.

    Returns:
        1 where there is no difference at all.
    """
    found = np.asarray(differences, np.float64)
    return float(stats.wilcoxon(found, zero_method="pratt").pvalue) if found.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of a family of tests, in their order, as Holm corrects them.

    Where no difference is true, one of them is below ``ALPHA`` as seldom as the p value of a single test would be.
    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, np.float64)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(each) for each in corrected]


def share_above(differences: ArrayLike) -> float:
    """Of all pairs of differences the share, 0-1, whose sum is above 0 (a sum of 0 counts half); of one 1, 0.5 or 0."""
    found = np.sort(np.asarray(differences, np.float64))
    if len(found) == 1:
        return float((np.sign(found[0]) + 1) / 2)
    above = len(found) - np.searchsorted(found, -found, "right")
    level = len(found) - np.searchsorted(found, -found, "left") - above
    own = (np.sign(found) + 1) / 2  # a difference is no pair with itself
    return float((above + level / 2 - own).sum() / (len(found) * (len(found) - 1)))


def groups_needed(differences: ArrayLike, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """How many groups the signed-rank test needs, were differences always distributed as these are.

    n = (z_alpha/2 + z_power)² / (3 (p' - 1/2)²), p' the share of pairs whose sum is above 0. Of small normal
    differences that is the paired t-test's number divided by 3/pi, but it holds for skewed ones, too. Noether GE.
    Sample size determination for some common nonparametric tests. J Am Stat Assoc 1987,
    https://doi.org/10.1080/01621459.1987.10478478. Zeros lessen the variance of Pratt's ranks by their share cubed.

    Args:
        differences: one for each group, (N,).
        alpha: two-sided.
        power: 0-1.

    Returns:
        at least as many as can reach ``alpha``; ``None`` where the differences have no direction.
    """
    found = np.asarray(differences, np.float64)
    effect = share_above(found) - 0.5
    if effect == 0:
        return None
    scale = float(stats.norm.isf(alpha / 2) + stats.norm.ppf(power)) ** 2
    needed = scale * (1 - float(np.mean(found == 0)) ** 3) / (3 * effect**2)
    return max(math.ceil(needed), fewest_groups(alpha))


def fewest_groups(alpha: float = ALPHA) -> int:
    """With how many groups the signed-rank test can reject at all: the least p value of n is 2 / 2^n."""
    return math.floor(math.log2(2 / alpha)) + 1
