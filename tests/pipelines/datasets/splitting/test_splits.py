from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.datasets.splitting.splits import SPLITS, Place, Plan, highest, split_groups, strata
from delineate.pipelines.imaging.item import Item

NAMES = st.text(min_size=1, max_size=6)
STRATA = st.dictionaries(NAMES, st.sampled_from(["", "benign large", "malignant small"]), max_size=80)
SHARES = st.lists(st.integers(0, 20), min_size=3, max_size=3).filter(any)
SEEDS = st.integers(0, 2**32)
HOLD_OUT = st.builds(lambda shares, seed: Plan(tuple(n / sum(shares) for n in shares), seed), SHARES, SEEDS)
FOLDS = st.builds(
    lambda test, seed, folds: Plan((1 - test, 0, test), seed, folds), st.floats(0, 0.5), SEEDS, st.integers(2, 6)
)
PLANS = HOLD_OUT | FOLDS
ENOUGH = STRATA.filter(lambda strata: len(strata) > 6)


def wanted(plan: Plan) -> set[Place]:
    return {place for place, share in plan.shares.items() if share}


def is_ample(strata: dict[str, str], plan: Plan) -> bool:
    """Whether every place is owed some groups, so that none has to be given one above its quota."""
    return min(len(strata) * share for share in plan.shares.values() if share) >= 2


@given(ENOUGH, PLANS)
def test_every_group_gets_exactly_one_place_of_the_plan(strata: dict[str, str], plan: Plan) -> None:
    divided = split_groups(strata, plan)
    assert divided.keys() == strata.keys()
    assert set(divided.values()) <= wanted(plan)


@given(ENOUGH, PLANS, st.randoms())
def test_the_order_of_the_groups_does_not_matter(strata: dict[str, str], plan: Plan, rng: random.Random) -> None:
    shuffled = list(strata.items())
    rng.shuffle(shuffled)
    assert split_groups(dict(shuffled), plan) == split_groups(strata, plan)


@given(ENOUGH, PLANS)
def test_no_place_with_a_share_is_empty_given_groups_enough(strata: dict[str, str], plan: Plan) -> None:
    assert set(split_groups(strata, plan).values()) == wanted(plan)


@given(ENOUGH, PLANS)
def test_counts_are_within_two_groups_of_the_fractions(strata: dict[str, str], plan: Plan) -> None:
    assume(is_ample(strata, plan))
    counts = Counter(split_groups(strata, plan).values())
    for place, share in plan.shares.items():
        assert abs(counts[place] - share * len(strata)) < 2


@given(ENOUGH, PLANS)
def test_counts_of_each_stratum_are_its_quotas_rounded(strata: dict[str, str], plan: Plan) -> None:
    assume(is_ample(strata, plan))
    counts = Counter((strata[group], place) for group, place in split_groups(strata, plan).items())
    for stratum, size in Counter(strata.values()).items():
        for place, share in plan.shares.items():
            assert abs(counts[stratum, place] - share * size) < 1


@given(ENOUGH, SEEDS, st.integers(2, 6))
def test_folds_differ_by_one_group_at_most_in_each_stratum_and_by_two_in_all(
    strata: dict[str, str], seed: int, folds: int
) -> None:
    plan = Plan((1, 0, 0), seed, folds)
    assume(is_ample(strata, plan))
    divided = split_groups(strata, plan)
    counts = Counter((strata[group], place) for group, place in divided.items())
    for stratum in set(strata.values()):
        in_stratum = [counts[stratum, place] for place in wanted(plan)]
        assert max(in_stratum) - min(in_stratum) <= 1
    in_all = Counter(divided.values()).values()
    assert max(in_all) - min(in_all) <= 2


# Groups that are added


@given(ENOUGH, STRATA, PLANS)
def test_adding_groups_moves_no_old_one(old: dict[str, str], new: dict[str, str], plan: Plan) -> None:
    before = split_groups(old, plan)
    after = split_groups(old | new, plan, before)
    assert {group: after[group] for group in old} == before


@given(ENOUGH, STRATA, PLANS)
def test_added_groups_go_where_their_stratum_has_too_few(old: dict[str, str], new: dict[str, str], plan: Plan) -> None:
    together = new | old
    before = split_groups(old, plan)
    after = split_groups(together, plan, before)
    sizes = Counter(together.values())
    counts = Counter((together[group], place) for group, place in after.items())
    for group in new.keys() - old.keys():
        stratum, place = together[group], after[group]
        alone = Counter(after.values())[place] == 1
        assert alone or counts[stratum, place] < sizes[stratum] * plan.shares[place] + 1


@given(st.lists(NAMES, unique=True, min_size=3, max_size=12), SEEDS)
def test_groups_that_come_one_by_one_leave_no_split_empty(names: list[str], seed: int) -> None:
    divided: dict[str, Place] = {}
    for number in range(1, len(names) + 1):
        divided = split_groups(dict.fromkeys(names[:number], ""), Plan(seed=seed), divided)
    assert {place.split for place in divided.values()} == set(SPLITS)


# Official splits


OFFICIAL = st.dictionaries(st.integers(0, 40).map(str), st.sampled_from(SPLITS), min_size=8)


@given(OFFICIAL, PLANS)
def test_an_official_test_set_stays_as_it_is(official: dict[str, str], plan: Plan) -> None:
    official |= {str(number): "training" for number in range(100, 107)}
    divided = split_groups(dict.fromkeys(official, ""), plan, official=official)
    tested = {group for group, split in official.items() if split == "test"}
    assert not tested or {group for group, place in divided.items() if place.split == "test"} == tested


@given(OFFICIAL, HOLD_OUT)
def test_a_complete_official_split_is_kept_whatever_was_before(official: dict[str, str], plan: Plan) -> None:
    official |= {"a": "training", "b": "validation", "c": "test"}
    before = split_groups(dict.fromkeys(official, ""), plan)
    divided = split_groups(dict.fromkeys(official, ""), plan, before, official)
    assert {group: place.split for group, place in divided.items()} == official


def test_what_an_official_split_lacks_is_divided_from_its_training_set() -> None:
    official = {str(number): "test" if number < 20 else "training" for number in range(100)}
    counts = Counter(split_groups(dict.fromkeys(official, ""), Plan((0.6, 0.2, 0.2)), official=official).values())
    assert counts == {Place("training"): 60, Place("validation"): 20, Place("test"): 20}


# Strata


def entry(group: str, area: float, name: str = "benign") -> Item:
    return Item.of("a.png", group=group, area=area, class_name=name)


def test_a_stratum_is_the_class_and_the_tercile_of_the_lesions() -> None:
    found = strata([entry(str(number), number / 10) for number in range(7)])
    assert [found[str(number)] for number in range(7)] == [
        f"benign {size}" for size in ("empty", "small", "small", "medium", "medium", "large", "large")
    ]


def test_the_lesions_of_a_group_are_its_median_over_images_that_have_some() -> None:
    groups = [entry("small", 0.1), entry("medium", 0.2), entry("large", 0.5)]
    slices = [entry("volume", area) for area in (0, 0, 0, 0, 0.1, 0.2, 0.9)]
    assert strata(groups + slices)["volume"] == strata(groups + slices)["medium"]


def test_a_group_of_several_classes_is_a_stratum_of_its_own() -> None:
    assert strata([entry("a", 0, "malignant"), entry("a", 0), entry("b", 0)]) == {
        "a": "benign+malignant empty",
        "b": "benign empty",
    }


def test_without_class_and_area_all_is_one_stratum() -> None:
    assert len(set(strata([Item.of("a.png", group="a"), Item.of("a.png", group="b")]).values())) == 1


@given(st.lists(st.tuples(NAMES, st.floats(0, 1)), min_size=1), st.randoms())
def test_strata_do_not_depend_on_the_order_of_entries(pairs: list[tuple[str, float]], rng: random.Random) -> None:
    entries = [entry(*pair) for pair in pairs]
    before = strata(entries)
    rng.shuffle(entries)
    assert strata(entries) == before


# What stays as it is


def test_the_split_is_the_same_on_every_machine_and_day() -> None:
    divided = split_groups({f"patient {i}": "" for i in range(8)}, Plan((0.5, 0.25, 0.25), seed=1))
    validation, test = ({group[-1] for group in divided if divided[group].split == split} for split in SPLITS[1:])
    assert (validation, test) == ({"0", "2"}, {"5", "7"})


def test_a_file_name_that_is_no_unicode_is_divided_like_any_other() -> None:
    assert split_groups({"\udcff": ""}, Plan()) == {"\udcff": Place("training")}


def test_another_seed_gives_another_split() -> None:
    groups = {str(i): "" for i in range(100)}
    assert split_groups(groups, Plan(seed=0)) != split_groups(groups, Plan(seed=1))


def test_one_stratum_is_divided_by_largest_remainder() -> None:
    counts = Counter(place.split for place in split_groups({str(i): "" for i in range(11)}, Plan()).values())
    assert counts == {"training": 8, "validation": 2, "test": 1}  # 7.7, 1.65, 1.65


def test_of_several_places_test_is_highest_then_validation_then_the_first_fold() -> None:
    ranked = [Place("test"), Place("validation"), Place("training", 0), Place("training", 3)]
    for index in range(len(ranked)):
        assert highest(reversed(ranked[index:])) == ranked[index]


# What is refused


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_fractions_that_are_not_three_shares_of_one_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DelineateError, match="three shares that add up to 1"):
        Plan(fractions)


@pytest.mark.parametrize(("fractions", "folds"), [((0.8, 0, 0.2), 1), ((0, 0, 1), 5)])
def test_folds_that_are_none_are_refused(fractions: tuple[float, ...], folds: int) -> None:
    with pytest.raises(DelineateError, match="two folds or more are needed"):
        Plan(fractions, folds=folds)


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(DelineateError, match="5 folds of 3 groups; ask for fewer folds"):
        split_groups({"a": "", "b": "", "c": ""}, Plan((1, 0, 0), folds=5))
