from __future__ import annotations

from pathlib import Path
from typing import Any

from data_lists import parsed, straddling
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.datasets.datalist import Repeat, in_splits
from delineate.pipelines.datasets.groups import Move, Pair, equal_pairs, join_groups, place_groups, repeats
from delineate.pipelines.datasets.splitting.splits import Plan
from delineate.pipelines.imaging.item import Item

SOME = st.integers(0, 5).map(str)
ENTRY = st.fixed_dictionaries(
    {
        "group": st.integers(0, 30).map(str),
        "image": st.text("abc", min_size=1, max_size=3),
        "area": st.sampled_from([0, 0.1, 0.5]),
    },
    optional={"image_sha256": st.integers(0, 60).map(str), "pixels_sha256": st.integers(0, 60).map(str), "class": SOME},
)
ENTRIES = st.lists(ENTRY, max_size=40)
PLANS = st.sampled_from([Plan(), Plan((0.2, 0.3, 0.5), 7)])
Entries = list[dict[str, Any]]


def divided(entries: Entries, plan: Plan, old: dict[str, Any]) -> tuple[dict[str, Any], list[Move]]:
    items = [Item.from_fields(entry) for entry in entries]
    joined = join_groups(items, equal_pairs(items))
    places, moved = place_groups(items, joined, plan, parsed(old), {})
    lists = in_splits(items, joined, places)
    return {split: [item.as_fields() for item in found] for split, found in lists.items()}, moved


@given(ENTRIES, PLANS)
def test_whatever_is_shared_nothing_leaks(entries: Entries, plan: Plan) -> None:
    assert straddling(divided(entries, plan, {})[0]) == []


@given(ENTRIES, ENTRIES, PLANS)
def test_whatever_is_added_nothing_leaks_and_only_what_is_reported_moves(
    entries: Entries, more: Entries, plan: Plan
) -> None:
    numbered = [entry | {"number": number} for number, entry in enumerate(entries)]
    before, _ = divided(numbered, plan, {})
    after, moved = divided([*more, *numbered], plan, before)
    assert straddling(after) == []
    was, now = (
        {entry["number"]: split for split, found in lists.items() for entry in found if "number" in entry}
        for lists in (before, after)
    )
    group = {entry["number"]: entry["group"] for found in after.values() for entry in found if "number" in entry}
    reported = {move.group for move in moved}
    assert {group[number] for number in was if was[number] != now[number]} <= reported
    assert all(len(move.old) > 1 and move.new in move.old for move in moved)


def test_groups_are_joined_over_several_steps() -> None:
    items = [Item.of("a.png", group=name) for name in "abcde"]
    assert join_groups(items, [Pair(3, 4, True), Pair(1, 3, False)]) == {
        "a": "a", "b": "b", "c": "c", "d": "b", "e": "b"
    }  # fmt: skip


def test_slices_of_one_group_are_no_pair_but_those_of_two_are() -> None:
    items = [Item.of("a.nii", group=group, slice=n, pixels_sha256="same") for n, group in enumerate("aab")]
    assert equal_pairs(items) == [Pair(0, 2, True)]


def test_many_pairs_of_slices_are_one_record_of_two_volumes() -> None:
    items = [Item.of(name) for name in ("a.nii", "a.nii", "b.nii")]
    assert repeats(items, [Pair(0, 2, False), Pair(1, 2, True)]) == [Repeat(Path("a.nii"), Path("b.nii"), True)]
