"""Other splits of a data set, without a look at its images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.errors import DelineateError, InputError
from ...imaging.item import Item, Split
from ..datalist import Datalist, Part, in_splits, older_datalist, refuse_other_source, regrouped
from ..groups import (
    Move,
    audited_pairs,
    equal_pairs,
    join_groups,
    official_splits,
    place_groups,
    recorded_pairs,
    repeats,
)
from ..unlabelled import without_label
from .splits import Plan, split_groups, strata


@dataclass(frozen=True)
class SplitReport:
    """What `split_dataset` did.

    Attributes:
        splits: numbers of images by split, or by fold and test.
        moved: groups that could not stay where an older data list had them.
        joined: number of groups that are now one with others, because of what the data list or an audit knows.
        refused: images that were left out, because a duplicate is of another official split.
        unlabelled: number of images without label.
        path: of the new data list.
    """

    splits: dict[str, int]
    moved: list[Move]
    joined: int
    refused: list[InputError]
    unlabelled: int
    path: Path


def split_dataset(
    dataset: str | Path,
    out: str | Path,
    plan: Plan,
    official: bool = False,
    audit: str | Path | None = None,
    labelled_share: float | None = None,
) -> SplitReport:
    """Split the labelled images of a data set anew and write ``out/datalist.json``.

    Images stay together that share a group, that the data list records as duplicates, or that the last audit found to
    show the same picture. Groups that an older data list in ``out`` has, split by the same plan, keep their places.

    Args:
        dataset: a folder with ``datalist.json``.
        out: the new data set's folder, made if missing.
        plan: how to split.
        official: whether official validation and test sets stay as they are; an image with a duplicate in an official
            split that goes before its own (test, then validation) is left out, as in `index_dataset`.
        audit: where ``audit.json`` is; in the data set's folder where ``None``.
        labelled_share: the share of the training groups that keep their labels, above 0 and below 1, in equal
            proportions of class and lesion area; the images of the others become unlabelled. All where ``None``.

    Raises:
        InputError: ``dataset`` has no official split to keep; its audit cannot be read; ``out`` is
            ``dataset``, has the data list of another source, or cannot hold the new one.
        DelineateError: ``dataset`` has no data list; there are fewer groups than folds; ``labelled_share`` is none, or
            of folds, each of which is needed with its labels.
    """
    _refuse_wrong_share(labelled_share, plan)
    dataset, out = Path(os.path.abspath(dataset)), Path(os.path.abspath(out))
    datalist = Datalist.read(dataset)
    datalist.refuse_unindexed()
    if os.path.realpath(dataset) == os.path.realpath(out):
        raise InputError(out, "is the data set itself, whose split would be lost", "choose another --out")
    refuse_other_source(out, datalist.sources)
    old = older_datalist(out, plan)
    if official and not datalist.official:
        raise InputError(dataset, "has no official split", "leave --official out, or index the images again")
    if audit and not (Path(audit) / "audit.json").is_file():
        raise InputError(Path(audit) / "audit.json", "does not exist", "audit the data set: delineate data audit")
    labelled = sorted((replace(item, fold=None) for _, item in datalist.labelled()), key=lambda item: _name(item))
    unlabelled = datalist.part("unlabelled")
    every = [*labelled, *unlabelled]
    known = [*recorded_pairs(every, datalist.duplicates), *audited_pairs(every, Path(audit or dataset))]
    joined = join_groups(every, [*equal_pairs(every), *known])
    was: Mapping[str, Split] = dict(_there(datalist.official, joined)) if official else {}
    named = official_splits(was.items(), joined)
    kept, refused = _of_official_splits(labelled, was, named, joined, plan)
    places, moved = place_groups(kept, joined, plan, old, named)
    lists = in_splits(kept, joined, places) | {"unlabelled": [regrouped(item, joined) for item in unlabelled]}
    new = replace(
        datalist,
        folder=out,
        plan=plan,
        official_split=official,
        official=official_splits(_there(datalist.official, joined), joined),
        duplicates=repeats(every, known),
        refused=[*datalist.refused, *refused],
        lists=lists if labelled_share is None else _with_few_labels(lists, labelled_share, plan.seed),
        more=datalist.more if labelled_share is None else {**datalist.more, "labelled_share": labelled_share},
    )
    merged = sum(name != group for name, group in joined.items())
    return SplitReport(new.counts(), moved, merged, refused, len(new.part("unlabelled")), new.write())


def _refuse_wrong_share(share: float | None, plan: Plan) -> None:
    if share is None:
        return
    if not 0 < share < 1:
        raise DelineateError(f"labelled_share is {share:g}; a share above 0 and below 1 is needed, e.g. 0.1")
    if plan.folds:
        raise DelineateError("labelled_share is of one training split, not of folds; leave out one of the two")


def _with_few_labels(lists: Mapping[Part, Sequence[Item]], share: float, seed: int) -> dict[Part, Sequence[Item]]:
    """The same with labels of a share of the training groups; the other training images are unlabelled."""
    training = lists["training"]
    places = split_groups(strata(training), Plan((share, 1 - share, 0), seed))
    keeps = {group for group, place in places.items() if place.split == "training"}
    bare = [without_label(item) for item in training if item.group not in keeps]
    return {
        **lists,
        "training": [item for item in training if item.group in keeps],
        "unlabelled": [*lists["unlabelled"], *bare],
    }


def _name(item: Item) -> str:
    """By which items are put in order, so that the split does not depend on the one before."""
    return str(item.as_fields()["image"])


def _of_official_splits(
    items: Sequence[Item], was: Mapping[str, Split], now: Mapping[str, Split], joined: Mapping[str, str], plan: Plan
) -> tuple[list[Item], list[InputError]]:
    """The items whose official split is that of their joined group, and a refusal of each other; folds are one."""
    kept: list[Item] = []
    refused: list[InputError] = []
    for item in items:
        mine, group = was.get(item.group), joined[item.group]
        if mine in (None, now.get(group)) or (plan.folds and "test" not in (mine, now.get(group))):
            kept.append(item)
        else:
            reason = f"is of the official {mine} split, but a duplicate of it is of {now[group]}"
            refused.append(InputError(item.file, reason, "left out, because the official split is kept"))
    return kept, refused


def _there(official: Mapping[str, Split], joined: Mapping[str, str]) -> list[tuple[str, Split]]:
    """The official splits of those groups that have an image."""
    return [(group, split) for group, split in official.items() if group in joined]
