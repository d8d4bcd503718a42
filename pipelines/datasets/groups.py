"""Groups that must stay together: joined by shared images, recognised in an older data list, put in their places."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scipy.cluster.hierarchy import DisjointSet

from ..core.errors import InputError
from .datalist import Entry, Trait, as_list, content, placed, traits
from .splitting.splits import Place, Plan, Split, highest, split_groups, strata

if TYPE_CHECKING:
    from ..duplicates.search import Signature


class Pair(NamedTuple):
    """Two entries, by index, that show the same picture."""

    first: int
    second: int
    exact: bool


class Move(NamedTuple):
    """A group that could not stay in all the places it had in an older data list, as text: ``fold 0``, ``test``."""

    group: str
    old: list[str]
    new: str


def equal_pairs(entries: Sequence[Entry]) -> list[Pair]:
    """Entries whose files or pixels are equal, each with the first such; slices of one group are not compared."""
    first: dict[Trait, int] = {}
    pairs = {
        Pair(first.setdefault(trait, index), index, True)
        for index, entry in enumerate(entries)
        for trait in traits(entry)
        if trait[0] != "group"
    }
    return _across_volumes(entries, sorted(pair for pair in pairs if pair.first != pair.second))


def near_pairs(entries: Sequence[Entry], signatures: Sequence[Signature | None]) -> list[Pair]:
    """Entries that look alike but are not equal; slices of one group are not compared.

    Args:
        entries: of the data list.
        signatures: one for each entry; ``None`` for blank images, which are like any other.
    """
    from ..duplicates.search import find_duplicates

    shown = [(index, one) for index, one in enumerate(signatures) if one is not None]
    found = [one for one in find_duplicates([one for _, one in shown]) if not one.exact]
    ends = [sorted((shown[one.first][0], shown[one.second][0])) for one in found]
    return _across_volumes(entries, sorted(Pair(first, second, False) for first, second in ends))


def recorded_pairs(entries: Sequence[Entry], recorded: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """The pairs that a data list records, of those entries that are there.

    Args:
        entries: of the data list.
        recorded: its ``duplicates``, as `records` gives them.
    """
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        first.setdefault(as_list(entry["image"])[0], index)
    both = [(*one["items"], bool(one["exact"])) for one in recorded]
    return [Pair(*ends, exact) for one, other, exact in both if (ends := _known(first.get(one), first.get(other)))]


def audited_pairs(entries: Sequence[Entry], folder: Path) -> list[Pair]:
    """The pairs that ``folder/audit.json`` names, by the contents of their files; none where there was no audit.

    Args:
        entries: of the data list, whatever their splits were when it was audited.
        folder: where the audit's files are.

    Raises:
        InputError: the audit cannot be read, so that what it found would be lost.
    """
    path = folder / "audit.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["duplicates"]
        named = [(*one["contents"], bool(one["exact"])) for one in found]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"does not say which images repeat each other ({type(error).__name__}: {error})"
        raise InputError(path, reason, "audit the data set again: delineate data audit, or remove the file") from error
    at: dict[str, int] = {}
    for index, entry in enumerate(entries):
        at.setdefault(content(entry), index)
    return [Pair(*ends, exact) for one, other, exact in named if (ends := _known(at.get(one), at.get(other)))]


def _known(one: int | None, other: int | None) -> tuple[int, int] | None:
    """Both in order, where both are there and differ."""
    return None if one is None or other is None or one == other else (min(one, other), max(one, other))


def join_groups(entries: Sequence[Entry], pairs: Sequence[Pair]) -> dict[str, str]:
    """The name of each group after groups with a pair were joined: the first in the alphabet of those joined."""
    sets = DisjointSet(entry["group"] for entry in entries)
    for pair in pairs:
        sets.merge(entries[pair.first]["group"], entries[pair.second]["group"])
    return {name: min(subset) for subset in sets.subsets() for name in subset}


def records(entries: Sequence[Entry], pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Pairs as the data list holds them: ``items``, two image paths, and ``exact``; one record for two volumes."""
    exact: dict[tuple[str, str], bool] = {}
    for pair in pairs:
        items = tuple(as_list(entries[index]["image"])[0] for index in pair[:2])
        exact[items[0], items[1]] = exact.get((items[0], items[1]), False) or pair.exact
    return [{"items": list(items), "exact": equal} for items, equal in exact.items()]


def official_splits(named: Iterable[tuple[str, Split | None]], joined: Mapping[str, str]) -> dict[str, Split]:
    """The official splits of joined groups: where there are several, test goes before validation before training.

    Args:
        named: groups as before joining, and their splits, if any.
        joined: as `join_groups` gives it.
    """
    found: dict[str, list[Place]] = {}
    for group, split in named:
        found.setdefault(joined[group], []).extend([Place(split)] if split else [])
    return {group: highest(places).split for group, places in found.items() if places}


def place_groups(
    entries: Sequence[Entry],
    joined: Mapping[str, str],
    plan: Plan,
    old: Mapping[str, Any],
    official: Mapping[str, Split],
) -> tuple[dict[str, Place], list[Move]]:
    """Put groups where they were, where they officially are, or where most is owed.

    Args:
        entries: labelled entries, their groups as before joining.
        joined: as `join_groups` gives it.
        plan: how to split.
        old: an older data list of the same plan, or nothing.
        official: the official splits of joined groups.

    Returns:
        the places of joined groups, and what had to move.
    """
    was = _recall(entries, joined, old)
    kept = {group: highest(places) for group, places in was.items()}
    renamed = [entry | {"group": joined[entry["group"]]} for entry in entries]
    places = split_groups(strata(renamed), plan, kept, official)
    moves = [
        Move(group, sorted(map(str, before)), str(places[group]))
        for group, before in was.items()
        if before != {places[group]}
    ]
    return places, moves


def _across_volumes(entries: Sequence[Entry], pairs: Sequence[Pair]) -> list[Pair]:
    def neighbours(one: Entry, other: Entry) -> bool:
        return "slice" in one and "slice" in other and bool(one["group"] == other["group"])

    return [pair for pair in pairs if not neighbours(entries[pair.first], entries[pair.second])]


def _recall(entries: Sequence[Entry], joined: Mapping[str, str], old: Mapping[str, Any]) -> dict[str, set[Place]]:
    """The places that joined groups had, recognised by their names before joining, their files and their pixels."""
    places: dict[Trait, set[Place]] = {}
    for place, entry in placed(old):
        for trait in traits(entry):
            places.setdefault(trait, set()).add(place)
    was: dict[str, set[Place]] = {}
    for entry in entries:
        for trait in traits(entry):
            was.setdefault(joined[entry["group"]], set()).update(places.get(trait, ()))
    return {group: found for group, found in was.items() if found}
