"""Images without a label: which of them a training may see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from ..core.errors import InputError
from ..imaging.item import Item
from .datalist import Datalist
from .groups import audited_pairs, equal_pairs, join_groups, recorded_pairs
from .seen import mark_of_file


def unlabelled_for_training(datalist: Datalist, fold: int | None = None) -> tuple[list[Item], int]:
    """The images without a label that have nothing to do with those that judge.

    An image is left out whose group is that of a validation or test image, or that shows the same as one, by hash, by
    what the data list records and by what the last audit found, through whatever other images.

    Args:
        datalist: of the data set.
        fold: of a data set with folds, the one that is the validation.

    Returns:
        the images, and the number of those that are left out.

    Raises:
        InputError: the images were not indexed, so that nobody knows what they repeat.
    """
    unlabelled, placed = datalist.part("unlabelled"), list(datalist.labelled())
    datalist.refuse_unindexed()
    if not all(item.group and item.image_sha256 for item in unlabelled):
        raise InputError(
            datalist.folder, "has unlabelled items without group or hash", "index the images: delineate data index"
        )
    every = [*(item for _, item in placed), *unlabelled]
    known = [*recorded_pairs(every, datalist.duplicates), *audited_pairs(every, datalist.folder)]
    joined = join_groups(every, [*equal_pairs(every), *known])
    judging = {
        joined[item.group]
        for place, item in placed
        if place.split != "training" or (fold is not None and place.fold == fold)
    }
    kept = [item for item in unlabelled if joined[item.group] not in judging]
    return kept, len(unlabelled) - len(kept)


def without_label(item: Item) -> Item:
    """The same image as if nobody had outlined anything in it."""
    item = replace(item, label=(), label_is=None, label_values=None, label_size=None, label_sha256=())
    return replace(item, structures={}, area=None, areas={}, fold=None)


def hash_of(items: Iterable[Item]) -> str:
    """The sha256, in hex, of what images hold, wherever they lie."""
    return sha256("\n".join(sorted(map(mark_of_file, items))).encode()).hexdigest()
