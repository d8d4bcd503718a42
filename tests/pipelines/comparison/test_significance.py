from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from delineate.pipelines.comparison.significance import (
    fewest_groups,
    groups_needed,
    holm,
    share_above,
    signed_rank,
)

SOME = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=9)


def test_the_test_is_scipys() -> None:
    found = np.random.default_rng(0).normal(0.1, 1, 40)
    assert signed_rank(found) == stats.wilcoxon(found).pvalue


def test_a_published_example_has_its_p_value() -> None:
    """Darwin's maize, crossed minus self-fertilised, in eighths of an inch; the test of SciPy's and R's documents."""
    differences = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
    assert signed_rank(differences) == pytest.approx(0.041, abs=5e-4)


def test_zeros_are_ranked_and_then_dropped() -> None:
    found = [0.0] * 20 + [1.0, -2.0, 3.0, 4.0, 5.0, 6.0, -7.5, 8.0, 9.0]
    assert signed_rank(found) == stats.wilcoxon(found, zero_method="pratt").pvalue
    assert signed_rank(found) != stats.wilcoxon(found, zero_method="wilcox").pvalue


def test_no_difference_at_all_is_certain_chance() -> None:
    assert signed_rank([0.0, 0.0, 0.0]) == 1.0


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # R: p.adjust(1:5 / 100, "holm")
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # R: p.adjust(c(.01, .04, .03, .005), "holm")
        ([0.9, 0.6], [1.0, 1.0]),
        ([0.03], [0.03]),
    ],
)
def test_holm_gives_the_values_of_r(raw: list[float], corrected: list[float]) -> None:
    assert holm(raw) == pytest.approx(corrected)


@settings(deadline=None, max_examples=20)
@given(SOME)
def test_the_share_above_is_that_of_all_pairs(differences: list[float]) -> None:
    sums = [a + b for i, a in enumerate(differences) for b in differences[i + 1 :]] or [2 * differences[0]]
    assert share_above(differences) == pytest.approx(np.mean([1.0 if s > 0 else 0.5 * (s == 0) for s in sums]))


@settings(deadline=None, max_examples=10)
@given(SOME)
def test_which_is_the_first_does_not_matter(differences: list[float]) -> None:
    mirrored = [-value for value in differences]
    assert signed_rank(mirrored) == pytest.approx(signed_rank(differences))
    assert groups_needed(mirrored) == groups_needed(differences)


def test_small_normal_differences_need_what_the_t_test_does_by_the_efficiency_of_ranks() -> None:
    standard = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    t_test = (1.959964 + 0.841621) ** 2 / 0.1**2
    needed = groups_needed(standard + 0.1)
    assert needed == pytest.approx(t_test * np.pi / 3, rel=0.02)


@pytest.mark.parametrize("zeros", [0, 60])
def test_as_many_skewed_differences_as_are_needed_have_the_power(zeros: int) -> None:
    rng = np.random.default_rng(1)
    observed = np.concatenate([rng.exponential(1, 100) ** 1.5 - 0.75, np.zeros(zeros)])
    needed = groups_needed(observed)
    assert needed is not None
    drawn = rng.choice(observed, (400, needed))
    power = np.mean(stats.wilcoxon(drawn, zero_method="pratt", axis=1, method="asymptotic").pvalue < 0.05)
    assert power == pytest.approx(0.8, abs=0.08)


def test_as_few_groups_as_can_reject_are_needed_at_least() -> None:
    needed = groups_needed([0.5] * 9)
    assert needed is not None
    assert needed >= fewest_groups() == 6
    assert stats.wilcoxon([1, 2, 3, 4, 5, 6]).pvalue < 0.05 < stats.wilcoxon([1, 2, 3, 4, 5]).pvalue


def test_differences_that_go_both_ways_alike_are_never_shown() -> None:
    assert groups_needed([-0.2, -0.1, 0.1, 0.2]) is None
