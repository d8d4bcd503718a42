from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import bootstrap

from delineate.pipelines.evaluation import intervals
from delineate.pipelines.evaluation.intervals import (
    interval_text,
    mean_with_interval,
    means_with_intervals,
    value_text,
)

VALUES = np.random.default_rng(3).beta(8, 2, 60).tolist()


def test_equal_values_have_an_interval_without_width() -> None:
    assert mean_with_interval([0.75] * 9) == {"value": 0.75, "ci95": [0.75, 0.75]}


def test_one_group_has_no_interval() -> None:
    score = mean_with_interval([0.25, 0.75], ["volume", "volume"])
    assert score == {"value": 0.5, "ci95": None}
    assert interval_text(score) == "no interval: only one image or patient"


def test_the_interval_is_that_of_scipy() -> None:
    theirs = bootstrap((VALUES,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    ours = mean_with_interval(VALUES)
    assert ours["value"] == pytest.approx(np.mean(VALUES))
    assert ours["ci95"] == pytest.approx([theirs.low, theirs.high], abs=0.002)


def test_the_interval_comes_close_to_the_normal_one() -> None:
    half = 1.96 * np.std(VALUES) / np.sqrt(len(VALUES))
    low, high = mean_with_interval(VALUES)["ci95"]
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)


def test_groups_of_alike_images_widen_the_interval() -> None:
    repeated = np.repeat(VALUES[:15], 4).tolist()
    groups = [str(i // 4) for i in range(60)]
    apart, together = (mean_with_interval(repeated, g, resamples=2000)["ci95"] for g in (None, groups))
    assert together[1] - together[0] > 1.7 * (apart[1] - apart[0])  # a quarter of the evidence: twice as wide


def test_groups_of_one_change_nothing() -> None:
    groups = [f"{i:03d}" for i in range(len(VALUES))]
    assert mean_with_interval(VALUES, groups, 500) == mean_with_interval(VALUES, None, 500)


def test_a_large_group_counts_by_its_images() -> None:
    groups = [str(i) for i in range(20) for _ in range(3)] + [str(i) for i in range(20, 40)]
    low, high = mean_with_interval([1.0] * 60 + [0.0] * 20, groups, 500)["ci95"]
    assert 0.5 < low < 0.75 < high  # the mean of the groups' means would be one half


def test_the_seed_decides_the_draws() -> None:
    one, again, other = (mean_with_interval(VALUES, None, 200, seed) for seed in (1, 1, 2))
    assert one == again
    assert one["ci95"] != other["ci95"]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
@settings(max_examples=30, deadline=None)
def test_the_interval_lies_within_the_values(values: list[float]) -> None:
    low, high = mean_with_interval(values, resamples=100)["ci95"]
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


@pytest.mark.parametrize(("values", "groups"), [([], None), ([1.0], []), ([1.0], ["a", "b"])])
def test_no_values_or_other_groups_are_refused(values: list[float], groups: list[str] | None) -> None:
    with pytest.raises(ValueError, match=f"got {len(values)} values"):
        mean_with_interval(values, groups)


# --- values that are missing, and several structures ---------------------------------------------------------


@given(arrays(np.float64, 9, elements=st.floats(0, 1)), st.lists(st.booleans(), min_size=9, max_size=9))
@settings(max_examples=30, deadline=None)
def test_what_is_not_finite_is_left_out(values: np.ndarray, missing: list[bool]) -> None:
    there = ~np.array(missing)
    holes = np.where(there, values, np.nan)
    groups = [str(i // 2) for i in range(9)]
    found = mean_with_interval(holes, groups, 50)
    if there.any():
        assert found == mean_with_interval(values[there], np.array(groups)[there].tolist(), 50)
    else:
        assert found == {"value": None, "ci95": None}


def test_an_infinite_value_is_left_out() -> None:
    assert mean_with_interval([0.5, np.inf, 0.5, -np.inf], None, 50) == {"value": 0.5, "ci95": [0.5, 0.5]}


def test_nothing_defined_reads_so() -> None:
    score = mean_with_interval([np.nan, np.nan])
    assert (value_text(score), interval_text(score)) == ("undefined", "undefined")


def test_how_many_were_undefined_stands_with_the_interval() -> None:
    assert interval_text({"value": 0.5, "ci95": [0.25, 0.75], "undefined": 3}) == "0.2500 - 0.7500 (3 undefined)"


def test_one_structure_is_as_before_to_the_bit() -> None:
    """As it was computed before there were several."""
    for count in (2, 7, 60, 333):
        values = np.random.default_rng(count).random(count)
        groups = [str(i // 3) for i in range(count + 1)][:count] if count > 2 else ["a", "b"]
        _, which = np.unique(groups, return_inverse=True)
        sums, counts = np.bincount(which, weights=values), np.bincount(which)
        rng, means = np.random.default_rng(0), np.empty(200)
        for i in range(200):
            drawn = rng.integers(0, len(sums), len(sums))
            means[i] = sums[drawn].sum() / counts[drawn].sum()
        low, high = np.quantile(means, (0.025, 0.975))
        expected = {"value": float(np.mean(values)), "ci95": [float(low), float(high)]}
        assert mean_with_interval(values.tolist(), groups, 200) == expected
        assert mean_with_interval(values[:, None], groups, 200) == expected


def test_structures_count_alike_however_many_images_have_them() -> None:
    table = np.full((10, 2), np.nan)
    table[:, 0], table[:2, 1] = 1.0, 0.5
    assert mean_with_interval(table)["value"] == 0.75


def test_equal_structures_have_the_interval_of_one() -> None:
    one, two = mean_with_interval(VALUES, None, 200), mean_with_interval(np.stack([VALUES, VALUES], 1), None, 200)
    assert two["value"] == pytest.approx(one["value"])
    assert two["ci95"] == pytest.approx(one["ci95"])


@given(arrays(np.float64, (8, 3), elements=st.one_of(st.floats(0, 1), st.just(np.nan))))
@settings(max_examples=30, deadline=None)
def test_the_mean_over_structures_lies_within_its_interval_and_the_values(table: np.ndarray) -> None:
    found = mean_with_interval(table, resamples=100)
    if found["ci95"]:
        low, high = found["ci95"]
        assert np.nanmin(table) - 1e-12 <= low <= high <= np.nanmax(table) + 1e-12


# --- all tables at once --------------------------------------------------------------------------------------


def one_by_one(values: np.ndarray, groups: list[str], resamples: int) -> dict[str, object]:
    """As it was computed when each score had draws, and a loop, of its own."""
    scored = np.isfinite(values).any(1)
    columns, known = values[scored].T, np.isfinite(values[scored].T)
    value = float(np.mean([column[there].mean() for column, there in zip(columns, known, strict=True) if there.any()]))
    _, which = np.unique(np.asarray(groups)[scored], return_inverse=True)
    sums = np.array([np.bincount(which, weights=column) for column in np.where(known, columns, 0)])
    counts = np.array([np.bincount(which, weights=there) for there in known])
    rng, means = np.random.default_rng(0), np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(0, sums.shape[1], sums.shape[1])
        total, count = sums.take(drawn, 1).sum(1), counts.take(drawn, 1).sum(1)
        means[i] = (total[count > 0] / count[count > 0]).mean()
    low, high = np.quantile(means, (0.025, 0.975))
    return {"value": value, "ci95": [float(low), float(high)]}


@pytest.mark.parametrize("structures", [1, 3, 9])
@pytest.mark.parametrize("images_a_group", [1, 3])
def test_tables_together_have_the_values_of_each_alone_to_the_bit(structures: int, images_a_group: int) -> None:
    rng = np.random.default_rng(structures)
    tables = {name: rng.random((90, structures)) for name in "abc"}
    tables["b"][rng.random((90, structures)) < 0.3] = np.nan
    groups = [str(index // images_a_group) for index in range(90)]
    found = means_with_intervals(tables, groups, 300)
    assert found == {name: one_by_one(table, groups, 300) for name, table in tables.items()}


def test_draws_in_several_pieces_are_those_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mean_with_interval(VALUES, None, 500)
    monkeypatch.setattr(intervals, "_AT_ONCE", 1000)
    assert mean_with_interval(VALUES, None, 500) == whole
