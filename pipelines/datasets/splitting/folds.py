"""Cross-validation: a data set a fold, whose test images the network of that fold has never seen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...core.errors import DelineateError
from ...imaging.item import Item
from ..datalist import Datalist, in_splits, regrouped
from ..groups import audited_pairs, equal_pairs, join_groups, recorded_pairs
from .splits import Place, Plan, split_groups, strata

FOLDS = 5
VALIDATION = 0.125
"""The share of the images beside the fold that chooses the epoch: judged images may not."""


def write_folds(
    dataset: str | Path,
    out: str | Path,
    folds: int | None = None,
    seed: int = 0,
    keep_test: bool = False,
    use_unlabelled: bool = False,
) -> list[Path]:
    """Write a data set for each fold: the fold is its test split, the rest its training and validation.

    All labelled images are divided; images that share a group, that are recorded as duplicates, or that the last audit
    found to show the same picture, stay in one fold and in one split. The same data set, folds and seed give the same.

    Args:
        dataset: a folder with ``datalist.json``.
        out: folder of ``fold_0/dataset``, ``fold_1/dataset``, ...
        folds: how many; where ``None``, the folds that the data set has, else `FOLDS`.
        seed: another seed gives other folds.
        keep_test: leave the images of the test split out, so that they can be looked at once, at the end. Where the
            folds are those of the data set, its test split is always left out.
        use_unlabelled: keep the images without a label, but those that belong to, or repeat, what is left out.

    Returns:
        the folders of the new data sets.

    Raises:
        DelineateError: there is no data list, or there are fewer groups than folds.
        InputError: it was not made by ``delineate data index``, or ``out`` cannot hold the data lists.
    """
    datalist = Datalist.read(dataset)
    datalist.refuse_unindexed()
    places = [(place, item) for place, item in datalist.labelled() if not (keep_test and place.split == "test")]
    if folds is None and any(place.fold is not None for place, _ in places):
        items = [item for place, item in places if place.fold is not None]
        divided: Mapping[str, int | None] = {item.group: item.fold for item in items}
    else:
        items = [item for _, item in places]
        joined = _joined(items, datalist)
        items = [regrouped(item, joined) for item in items]
        plan = Plan((1, 0, 0), seed, folds or FOLDS)
        divided = {group: place.fold for group, place in split_groups(strata(items), plan).items()}
    numbers = sorted({fold for fold in divided.values() if fold is not None})
    bare = _unlabelled(datalist, items) if use_unlabelled else []
    return [_write_fold(datalist, items, bare, divided, fold, len(numbers), seed, Path(out)) for fold in numbers]


def _joined(items: Sequence[Item], datalist: Datalist) -> dict[str, str]:
    """The name of each group after it was joined with all that shows the same."""
    known = [*recorded_pairs(items, datalist.duplicates), *audited_pairs(items, datalist.folder)]
    return join_groups(items, [*equal_pairs(items), *known])


def _unlabelled(datalist: Datalist, divided: Sequence[Item]) -> list[Item]:
    """The images without a label, each in the group of the divided images that it belongs to.

    One that belongs to images that are left out, or to several groups, which may come into several folds, is left out.
    """
    labelled, bare = [item for _, item in datalist.labelled()], datalist.part("unlabelled")
    joined, groups = _joined([*labelled, *bare], datalist), {item.file: item.group for item in divided}
    of_labelled: dict[str, set[str | None]] = {}
    for item in labelled:
        of_labelled.setdefault(joined[item.group], set()).add(groups.get(item.file))
    kept = []
    for item in bare:
        [group, *others] = of_labelled.get(joined[item.group], {joined[item.group]})
        if group is not None and not others:
            kept.append(replace(item, group=group))
    return kept


def _write_fold(
    datalist: Datalist,
    items: Sequence[Item],
    bare: Sequence[Item],
    divided: Mapping[str, int | None],
    fold: int,
    folds: int,
    seed: int,
    out: Path,
) -> Path:
    items = [replace(item, fold=None) for item in items]
    rest = [item for item in items if divided[item.group] != fold]
    if len({item.group for item in rest}) < 2:
        raise DelineateError(
            f"beside fold {fold} there is one group of images, and training and validation need one each; "
            "ask for fewer folds, or add images"
        )
    inner = split_groups(strata(rest), Plan((1 - VALIDATION, VALIDATION, 0), seed))
    placed = {group: Place("test") if divided[group] == fold else inner[group] for group in divided}
    folder = Path(os.path.abspath(out)) / f"fold_{fold}" / "dataset"
    new = replace(
        datalist,
        folder=folder,
        plan=None,
        official_split=False,
        official={},
        lists=in_splits(items, {group: group for group in divided}, placed) | {"unlabelled": bare},
        more={**datalist.more, "cross_validation": {"fold": fold, "folds": folds, "seed": seed}},
    )
    new.write()
    return folder
