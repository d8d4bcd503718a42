"""Groups that must stay together: joined by shared images, recognised in an older data list, put in their places."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..core.errors import DelineateError, InputError, permission_denied
from ..imaging.item import Item, Split
from .datalist import Datalist, Repeat, Trait, content, regrouped, traits
from .splitting.splits import Place, Plan, highest, split_groups, strata

if TYPE_CHECKING:
    from ..duplicates.search import Signature


class Pair(NamedTuple):
    """Two items, by index, that show the same picture."""

    first: int
    second: int
    exact: bool


class Move(NamedTuple):
    """A group that could not stay in all the places it had in an older data list, as text: ``fold 0``, ``test``."""

    group: str
    old: list[str]
    new: str


def equal_pairs(items: Sequence[Item]) -> list[Pair]:
    """Items whose files or pixels are equal, each with the first such; slices of one group are not compared."""
    first: dict[Trait, int] = {}
    pairs = {
        Pair(first.setdefault(trait, index), index, True)
        for index, item in enumerate(items)
        for trait in traits(item)
        if trait[0] != "group"
    }
    return _across_volumes(items, sorted(pair for pair in pairs if pair.first != pair.second))


def near_pairs(items: Sequence[Item], signatures: Sequence[Signature | None]) -> list[Pair]:
    """Items that look alike but are not equal; slices of one group are not compared.

    Args:
        items: of the data list.
        signatures: one for each item; ``None`` for blank images, which are like any other.
    """
    from ..duplicates.search import find_duplicates

    shown = [(index, one) for index, one in enumerate(signatures) if one is not None]
    found = [one for one in find_duplicates([one for _, one in shown]) if not one.exact]
    ends = [sorted((shown[one.first][0], shown[one.second][0])) for one in found]
    return _across_volumes(items, sorted(Pair(first, second, False) for first, second in ends))


def recorded_pairs(items: Sequence[Item], recorded: Sequence[Repeat]) -> list[Pair]:
    """The pairs that a data list records, of those items that are there."""
    first: dict[Path, int] = {}
    for index, item in enumerate(items):
        first.setdefault(item.file, index)
    return [Pair(*ends, exact) for one, other, exact in recorded if (ends := _known(first.get(one), first.get(other)))]


def audited_pairs(items: Sequence[Item], folder: Path) -> list[Pair]:
    """The pairs that ``folder/audit.json`` names, by the contents of their files; none where there was no audit.

    Args:
        items: of the data list, whatever their splits were when it was audited.
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
    except PermissionError as error:
        raise permission_denied(path) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"does not say which images repeat each other ({type(error).__name__}: {error})"
        raise InputError(path, reason, "audit the data set again: delineate data audit, or remove the file") from error
    at: dict[str, int] = {}
    for index, item in enumerate(items):
        at.setdefault(content(item), index)
    return [Pair(*ends, exact) for one, other, exact in named if (ends := _known(at.get(one), at.get(other)))]


def _known(one: int | None, other: int | None) -> tuple[int, int] | None:
    """Both in order, where both are there and differ."""
    return None if one is None or other is None or one == other else (min(one, other), max(one, other))


def join_groups(items: Sequence[Item], pairs: Sequence[Pair]) -> dict[str, str]:
    """The name of each group after groups with a pair were joined: the first in the alphabet of those joined."""
    from scipy.cluster.hierarchy import DisjointSet  # late: a runtime without it reads the command line, too

    sets = DisjointSet(item.group for item in items)
    for pair in pairs:
        sets.merge(items[pair.first].group, items[pair.second].group)
    return {name: min(subset) for subset in sets.subsets() for name in subset}


def grouped_by_folder(items: Sequence[Item]) -> list[Item]:
    """Items whose group is the folder that they are from, which is then no ``source`` to divide scores by."""
    return [replace(item, group=item.source, own_group=item.source, source="") for item in items]


def refuse_one_folder(sources: Sequence[Path]) -> None:
    """See that there are several folders.

    Raises:
        DelineateError: there is only one, which cannot be divided by folders.
    """
    if len(sources) == 1:
        raise DelineateError(
            "--group-by-folder keeps all images of a folder together, and only one folder is named; name each "
            f"patient's: {sources[0]}/*"
        )


def note_of_patients(layouts: Sequence[str]) -> list[str]:
    """That images of one patient may come into several splits, where nothing says whose they are.

    Args:
        layouts: of each folder.
    """
    if "paired" not in layouts:
        return []
    table = "list them in a table with a column group (--layout csv)"
    remedy = f"index with --group-by-folder if each folder is a patient, or {table}" if len(layouts) > 1 else table
    unknown = "it is not known which images are of one patient, so each is split by itself"
    return [f"{unknown}; where a patient has several, {remedy}"]


def repeats(items: Sequence[Item], pairs: Sequence[Pair]) -> list[Repeat]:
    """Pairs as the data list holds them, by their files: one for two volumes."""
    exact: dict[tuple[Path, Path], bool] = {}
    for pair in pairs:
        files = items[pair.first].file, items[pair.second].file
        exact[files] = exact.get(files, False) or pair.exact
    return [Repeat(*files, equal) for files, equal in exact.items()]


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
    items: Sequence[Item],
    joined: Mapping[str, str],
    plan: Plan,
    old: Datalist | None,
    official: Mapping[str, Split],
) -> tuple[dict[str, Place], list[Move]]:
    """Put groups where they were, where they officially are, or where most is owed.

    Args:
        items: labelled items, their groups as before joining.
        joined: as `join_groups` gives it.
        plan: how to split.
        old: an older data list of the same plan, if there is one.
        official: the official splits of joined groups.

    Returns:
        the places of joined groups, and what had to move.
    """
    was = _recall(items, joined, old) if old else {}
    kept = {group: highest(places) for group, places in was.items()}
    renamed = [regrouped(item, joined) for item in items]
    places = split_groups(strata(renamed), plan, kept, official)
    moves = [
        Move(group, sorted(map(str, before)), str(places[group]))
        for group, before in was.items()
        if before != {places[group]}
    ]
    return places, moves


def _across_volumes(items: Sequence[Item], pairs: Sequence[Pair]) -> list[Pair]:
    def neighbours(one: Item, other: Item) -> bool:
        return one.slice is not None and other.slice is not None and one.group == other.group

    return [pair for pair in pairs if not neighbours(items[pair.first], items[pair.second])]


def _recall(items: Sequence[Item], joined: Mapping[str, str], old: Datalist) -> dict[str, set[Place]]:
    """The places that joined groups had, recognised by their names before joining, their files and their pixels."""
    places: dict[Trait, set[Place]] = {}
    for place, item in old.labelled():
        for trait in traits(item):
            places.setdefault(trait, set()).add(place)
    was: dict[str, set[Place]] = {}
    for item in items:
        for trait in traits(item):
            was.setdefault(joined[item.group], set()).update(places.get(trait, ()))
    return {group: found for group, found in was.items() if found}
