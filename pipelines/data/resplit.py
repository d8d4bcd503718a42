"""Other splits of a data set, without a look at its images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .datalist import counts, in_splits, older_datalist, placed, read_datalist, write_datalist
from .groups import Move, equal_pairs, join_groups, official_splits, place_groups
from .splits import Plan


@dataclass(frozen=True)
class SplitReport:
    """What `split_dataset` did.

    Attributes:
        splits: numbers of images by split, or by fold and test.
        moved: groups that could not stay where an older data list had them.
        path: of the new data list.
    """

    splits: dict[str, int]
    moved: list[Move]
    path: Path


def split_dataset(dataset: str | Path, out: str | Path, plan: Plan, official: bool = False) -> SplitReport:
    """Deal the labelled images of a data set anew and write ``out/datalist.json``.

    Groups that an older data list in ``out`` has, dealt by the same plan, keep their places.

    Args:
        dataset: a folder with ``datalist.json``.
        out: the new data set's folder, made if missing.
        plan: how to deal.
        official: whether official validation and test sets stay as they are.

    Raises:
        InputError: ``dataset`` has no data list, or no official split to keep; ``out`` cannot hold the new one.
        DelineateError: there are fewer groups than folds.
    """
    dataset, out = Path(os.path.abspath(dataset)), Path(os.path.abspath(out))
    datalist, old = read_datalist(dataset), older_datalist(out, plan)
    if official and not datalist.get("official"):
        raise InputError(dataset, "has no official split", "leave --official out, or index the images again")
    undealt = [{key: value for key, value in entry.items() if key != "fold"} for _, entry in placed(datalist)]
    entries = sorted(undealt, key=lambda entry: str(entry["image"]))
    joined = join_groups(entries, equal_pairs(entries))
    named = official_splits(datalist["official"].items() if official else (), joined)
    places, moved = place_groups(entries, joined, plan, old, named)
    dealt = {**datalist, **plan.as_dict(), "official_split": official, **in_splits(entries, joined, places)}
    return SplitReport(counts(dealt, plan), moved, write_datalist(dealt, out))
