"""Training, validation and test splits that never cut a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import sha256
from typing import Literal, get_args

from ..errors import DelineateError

Split = Literal["training", "validation", "test"]

SPLITS: tuple[Split, ...] = get_args(Split)
FRACTIONS = (0.7, 0.15, 0.15)


def split_groups(strata: Mapping[str, str], fractions: Sequence[float] = FRACTIONS, seed: int = 0) -> dict[str, Split]:
    """Deal groups into splits, each stratum in the same proportions.

    A group's place depends on the hash of seed and name, not on the order of the input. Within a stratum the
    quotas are exact (largest remainder); what rounding owes is carried to the next stratum, so that many
    small strata together still give the fractions.

    Args:
        strata: the stratum (the class, say) of each group.
        fractions: the shares of training, validation and test, at least 0, together 1.
        seed: another seed gives another split.

    Returns:
        The split of each group. No split with a share is empty while there are groups enough.

    Raises:
        DelineateError: the fractions are not three shares of one.
    """
    shares = check_fractions(fractions)
    order = sorted(
        strata,
        key=lambda group: (strata[group], sha256(f"{seed}:{group}".encode(errors="surrogatepass")).digest()),
    )
    owed = [Fraction(0)] * len(SPLITS)
    dealt: dict[str, Split] = {}
    for stratum in sorted(set(strata.values())):
        members = [group for group in order if strata[group] == stratum]
        owed = [debt + len(members) * share for debt, share in zip(owed, shares, strict=True)]
        counts = _apportion(len(members), owed)
        owed = [debt - count for debt, count in zip(owed, counts, strict=True)]
        places = [split for split, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
        dealt.update(zip(members, places, strict=True))
    _fill_empty(dealt, [split for split, share in zip(SPLITS, shares, strict=True) if share])
    return dealt


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


def _apportion(number: int, owed: Sequence[Fraction]) -> list[int]:
    """Whole counts that add up to ``number``: each next one goes where most is owed."""
    counts = [0] * len(owed)
    for _ in range(number):
        counts[max(range(len(owed)), key=lambda i: owed[i] - counts[i])] += 1
    return counts


def _fill_empty(dealt: dict[str, Split], wanted: Sequence[Split]) -> None:
    """Give each empty split one group of the largest, where there is a group for each."""
    for split in wanted if len(dealt) >= len(wanted) else ():
        held = {other: [group for group in dealt if dealt[group] == other] for other in SPLITS}
        if not held[split]:
            dealt[max(held.values(), key=len)[-1]] = split
