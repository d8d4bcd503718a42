from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.data.splits import SPLITS, split_groups
from delineate.pipelines.errors import DelineateError

STRATA = st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from(["", "benign", "malignant"]), max_size=80)
SHARES = st.lists(st.integers(0, 20), min_size=3, max_size=3).filter(any)
SEEDS = st.integers(0, 2**32)


@given(STRATA, SEEDS)
def test_every_group_gets_exactly_one_split(strata: dict[str, str], seed: int) -> None:
    dealt = split_groups(strata, seed=seed)
    assert dealt.keys() == strata.keys()
    assert set(dealt.values()) <= set(SPLITS)


@given(STRATA, SEEDS, st.randoms())
def test_the_order_of_the_groups_does_not_matter(strata: dict[str, str], seed: int, rng: random.Random) -> None:
    shuffled = list(strata.items())
    rng.shuffle(shuffled)
    assert split_groups(dict(shuffled), seed=seed) == split_groups(strata, seed=seed)


@given(STRATA, SHARES, SEEDS)
def test_counts_are_within_one_and_a_half_groups_of_the_fractions(
    strata: dict[str, str], shares: list[int], seed: int
) -> None:
    fractions = [share / sum(shares) for share in shares]
    counts = Counter(split_groups(strata, fractions, seed).values())
    for split, fraction in zip(SPLITS, fractions, strict=True):
        assert abs(counts[split] - fraction * len(strata)) <= 1.5


@given(STRATA, SEEDS)
def test_counts_of_each_stratum_are_close_to_the_fractions(strata: dict[str, str], seed: int) -> None:
    dealt = split_groups(strata, (0.6, 0.2, 0.2), seed)
    for stratum, size in Counter(strata.values()).items():
        counts = Counter(dealt[group] for group in strata if strata[group] == stratum)
        for split, fraction in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
            assert abs(counts[split] - fraction * size) <= 2


@given(STRATA.filter(lambda strata: len(strata) >= 3), SHARES, SEEDS)
def test_no_split_with_a_share_is_empty_given_three_groups(
    strata: dict[str, str], shares: list[int], seed: int
) -> None:
    dealt = split_groups(strata, [share / sum(shares) for share in shares], seed)
    assert set(dealt.values()) == {split for split, share in zip(SPLITS, shares, strict=True) if share}


def test_the_split_is_the_same_on_every_machine_and_day() -> None:
    dealt = split_groups({f"patient {i}": "" for i in range(8)}, (0.5, 0.25, 0.25), seed=1)
    validation, test = ({group[-1] for group in dealt if dealt[group] == split} for split in SPLITS[1:])
    assert (validation, test) == ({"0", "2"}, {"5", "7"})


def test_a_file_name_that_is_no_unicode_is_dealt_like_any_other() -> None:
    assert split_groups({"\udcff": ""}) == {"\udcff": "training"}


def test_another_seed_gives_another_split() -> None:
    strata = {str(i): "" for i in range(100)}
    assert split_groups(strata, seed=0) != split_groups(strata, seed=1)


def test_one_stratum_is_dealt_by_largest_remainder() -> None:
    counts = Counter(split_groups({str(i): "" for i in range(11)}, (0.7, 0.15, 0.15)).values())
    assert counts == {"training": 8, "validation": 2, "test": 1}  # 7.7, 1.65, 1.65


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_fractions_that_are_not_three_shares_of_one_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DelineateError, match="three shares that add up to 1"):
        split_groups({"a": ""}, fractions)
