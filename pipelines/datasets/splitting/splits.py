"""Training, validation, test and folds that never cut a group: who goes where, without a look at any file."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import groupby
from statistics import median
from typing import Any, NamedTuple, get_args

from ...core.errors import DelineateError, counted
from ...imaging.item import Item, Split

SPLITS: tuple[Split, ...] = get_args(Split)
ALL = "all"
"""In place of a split: all labelled images."""
FRACTIONS = (0.7, 0.15, 0.15)
SIZES = ("small", "medium", "large")


def split_words(split: str) -> str:
    """A split, or `ALL`, as a sentence names it."""
    return "all splits" if split == ALL else f"the split {split}"


class Place(NamedTuple):
    """A split, or a fold of the training split; as text ``test`` or ``fold 0``."""

    split: Split
    fold: int | None = None

    def __str__(self) -> str:
        return self.split if self.fold is None else f"fold {self.fold}"


@dataclass(frozen=True)
class Plan:
    """How groups are split; the same plan and groups give the same split.

    Attributes:
        fractions: the shares of training, validation and test, at least 0, together 1.
        seed: another seed gives another split.
        folds: split training and validation together into so many folds, 2 or more; the third share is the test set. In
            the data list all folds stand under ``training``, each entry with its ``fold``; ``validation`` is empty.

    Raises:
        DelineateError: shares or folds from which no training is left.
    """

    fractions: tuple[float, ...] = FRACTIONS
    seed: int = 0
    folds: int | None = None

    def __post_init__(self) -> None:
        training, validation, _ = check_fractions(self.fractions)
        if self.folds is not None and not (self.folds >= 2 and training + validation):
            text = f"folds is {self.folds} and their share {float(training + validation):g}"
            raise DelineateError(f"{text}; two folds or more are needed, and a test share below 1")

    @property
    def shares(self) -> dict[Place, Fraction]:
        """The share of each place there is; it may be 0."""
        *development, test = check_fractions(self.fractions)
        if self.folds is None:
            return dict(zip(map(Place, SPLITS), (*development, test), strict=True))
        folds = {Place("training", fold): sum(development, Fraction(0)) / self.folds for fold in range(self.folds)}
        return folds | {Place("test"): test}

    def as_dict(self) -> dict[str, Any]:
        """As data lists hold it."""
        return asdict(self) | {"fractions": list(self.fractions)}


def check_fractions(fractions: Sequence[float]) -> list[Fraction]:
    """The shares of training, validation and test as exact fractions.

    Raises:
        DelineateError: they are not three shares of one.
    """
    if len(fractions) != 3 or not all(0 <= share <= 1 for share in fractions) or abs(sum(fractions) - 1) > 1e-6:
        given = ", ".join(map(str, fractions))
        raise DelineateError(f"fractions are ({given}); three shares that add up to 1 are needed, e.g. 0.7, 0.15, 0.15")
    exact = [Fraction(share).limit_denominator(1_000_000) for share in fractions]
    return [share / sum(exact) for share in exact]


def strata(items: Iterable[Item]) -> dict[str, str]:
    """The stratum of each group: its sources and classes, whether its foreground is small or large, and its structures.

    Args:
        items: the sizes are terciles over the groups of the median ``area`` of a group's images that have foreground;
            of several structures, those that some image of the group shows count, too.
    """
    classes: dict[str, set[str]] = {}
    areas: dict[str, list[float]] = {}
    seen: dict[str, set[str]] = {}
    for item in items:
        classes.setdefault(item.group, set()).add(f"{item.source} {item.class_name}".lstrip())
        areas.setdefault(item.group, []).extend([] if item.area is None else [item.area])
        seen.setdefault(item.group, set()).update(name for name, area in item.areas.items() if area)
    typical = {group: median(filter(None, values)) for group, values in areas.items() if any(values)}
    ordered = sorted(typical.values())

    def size(group: str) -> str:
        if group in typical:
            return SIZES[bisect_left(ordered, typical[group]) * len(SIZES) // len(ordered)]
        return "empty" if areas[group] else ""

    names = {group: "".join(f" {name}" for name in sorted(found)) for group, found in seen.items()}
    return {group: f"{'+'.join(sorted(found))} {size(group)}{names[group]}" for group, found in classes.items()}


def highest(places: Iterable[Place]) -> Place:
    """Where a group goes that was in several places: to test, else validation, else training, in the first fold."""
    return max(places, key=lambda place: (SPLITS.index(place.split), -(place.fold or 0)))


def split_groups(
    strata: Mapping[str, str],
    plan: Plan,
    kept: Mapping[str, Place] | None = None,
    official: Mapping[str, Split] | None = None,
) -> dict[str, Place]:
    """Divide groups into splits or folds, each stratum in the same proportions, counted in groups.

    A group's place depends on the hash of seed and name, not on the order of the input. In a stratum that is divided
    at once every count is its exact quota rounded up or down; what rounding owes is carried to the next stratum, so
    that many small strata together still give the fractions. Groups that have a place keep it; new ones go where most
    is owed.

    Args:
        strata: the stratum of each group, as `strata` gives it.
        plan: shares, seed, folds.
        kept: places from before.
        official: the official splits of groups. Official test and validation sets stay as they are, and the others are
            divided into what the official split lacks; for folds, the official training and validation are one.

    Returns:
        The place of each group. None that has a share is empty while there are groups enough.

    Raises:
        DelineateError: there are fewer groups than folds.
    """
    official = official or {}
    held = {split for split in official.values() if split == "test" or (split == "validation" and not plan.folds)}
    fixed = {group: Place(official[group]) for group in strata if official.get(group) in held}
    shares = {place: share for place, share in plan.shares.items() if share and place.split not in held}
    open_groups = {group: stratum for group, stratum in strata.items() if group not in fixed}
    divided = _divide(open_groups, shares or {Place("training"): Fraction(1)}, plan.seed, kept or {})
    if plan.folds and len({place.fold for place in divided.values()} - {None}) < plan.folds:
        raise DelineateError(
            f"{plan.folds} folds of {counted(len(divided), 'group')}; ask for fewer folds, or add images"
        )
    return fixed | divided


def _divide(
    strata: Mapping[str, str], shares: Mapping[Place, Fraction], seed: int, kept: Mapping[str, Place]
) -> dict[str, Place]:
    total = sum(shares.values())
    shares = {place: share / total for place, share in shares.items()}
    lots = {group: sha256(f"{seed}:{group}".encode(errors="surrogatepass")).digest() for group in strata}
    order = sorted(strata, key=lambda group: (strata[group], lots[group]))
    divided = {group: kept[group] for group in order if kept.get(group) in shares}
    carried = dict.fromkeys(shares, Fraction(0))
    for _, members in groupby(order, key=strata.__getitem__):
        groups = list(members)
        new = [group for group in groups if group not in divided]
        held = Counter(divided[group] for group in groups if group in divided)
        owed = {place: len(groups) * share - held[place] for place, share in shares.items()}
        counts = _apportion(len(new), owed, carried)
        carried = {place: carried[place] + owed[place] - counts[place] for place in shares}
        divided.update(zip(new, (place for place in shares for _ in range(counts[place])), strict=True))
    _fill_empty(divided, strata, shares, kept)
    return divided


def _apportion(number: int, owed: Mapping[Place, Fraction], carried: Mapping[Place, Fraction]) -> Counter[Place]:
    """Whole counts that add up to ``number``: first what is owed in full, then, once each, where most was carried."""
    counts: Counter[Place] = Counter()
    for _ in range(number):
        left = {place: debt - counts[place] for place, debt in owed.items()}
        counts[max(left, key=lambda place: (left[place] >= 1, left[place] > 0, carried[place] + left[place]))] += 1
    return counts


def _fill_empty(
    divided: dict[str, Place], strata: Mapping[str, str], shares: Mapping[Place, Fraction], kept: Collection[str]
) -> None:
    """Give each empty place a group from the place and stratum that have most above their quota."""
    sizes = Counter(strata.values())
    for empty in (place for place in shares if place not in divided.values()):
        held, counts = Counter(divided.values()), Counter((place, strata[group]) for group, place in divided.items())
        excess = {(place, stratum): n - sizes[stratum] * shares[place] for (place, stratum), n in counts.items()}
        givers = [group for group, place in divided.items() if held[place] > 1 and group not in kept]
        if givers:
            divided[max(givers, key=lambda group: excess[divided[group], strata[group]])] = empty
