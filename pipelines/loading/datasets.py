"""Data sets for training and judging: the datalist's items, streamed or augmented."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from monai.data import Dataset, MetaTensor, get_track_meta, set_track_meta
from monai.transforms import Compose, Randomizable
from torch.utils.data import DistributedSampler, IterableDataset

from ..core.errors import DelineateError, InputError, UnknownNameError
from ..core.ranks import process_count, rank
from ..datasets.datalist import Datalist
from ..datasets.splitting.splits import ALL
from ..imaging.item import Item, Split
from ..imaging.structures import Structure, structures_of
from ..imaging.volumes.slicing import Slicing
from .streams import Stream

logger = logging.getLogger(__name__)
SPLITS: tuple[Split, ...] = get_args(Split)
_FIELDS = (
    *("image", "label", "image_sha256", "label_sha256", "group", "class", "source", "slice", "series"),
    *("label_values", "label_is", "label_size", "structures", "spacing", "size"),
)

Fields = dict[str, Any]
"""An item as MONAI's data sets and transforms take it."""


def load_datalist(
    dataset_dir: str | Path,
    split: str,
    *,
    skip_missing: bool = True,
    fold: int | None = None,
    slicing: Mapping[str, Any] | None = None,
    structures: Sequence[Mapping[str, Any]] | None = None,
) -> list[Fields]:
    """Items of one split of a data set's ``datalist.json``, with absolute paths.

    Args:
        dataset_dir: folder that holds ``datalist.json``, as ``delineate data index`` writes it.
        split: ``"training"``, ``"validation"``, ``"test"``, or ``"all"`` labelled items.
        skip_missing: whether items whose files are missing are left out, and logged by name; an evaluation keeps
            them, so that they are counted as refused.
        fold: of a data set with folds, the one that is the validation; the others are the training.
        slicing: how the items will be read; a data set that was cut otherwise is refused. Not compared where ``None``.
        structures: those of the bundle, each of which the data set must have; of one alone the names may differ. One,
            whatever its name, where ``None``.

    Returns:
        items with ``image`` (path of a file or of a series' folder, or a list of paths), ``label`` (path or list of
        paths), ``group`` and, where known, ``class``, ``source``, ``slice``, ``series``, ``label_values``,
        ``label_is``, ``label_size``, ``structures``, ``size`` and ``spacing``; and ``image_sha256`` and
        ``label_sha256``, with which transforms compare what they read.

    Raises:
        DelineateError: when there is no datalist, nothing is left in the split, ``fold`` is missing, unknown or without
            use, ``slicing`` differs, or a structure is missing.
        UnknownNameError: when there is no such split.
    """
    path = Path(dataset_dir) / "datalist.json"
    if split not in (*SPLITS, ALL):
        raise UnknownNameError("split", split, [*SPLITS, ALL])
    datalist = Datalist.read(dataset_dir)
    compare_slicing(datalist, slicing)
    named = _known_as(datalist, structures_of(structures))
    found = [_renamed(item, named) for item in _select(path, datalist, split, fold)]
    items = [item for item in found if not skip_missing or is_there(item)]
    if not items:
        raise _nothing_in(path, datalist, split, len(found))
    return [fields_of(item) for item in items]


def fields_of(item: Item) -> Fields:
    """An item as the transforms take it."""
    return {key: value for key, value in item.as_fields().items() if key in _FIELDS}


def _known_as(datalist: Datalist, wanted: Sequence[Structure]) -> dict[str, str]:
    """What the data list calls each of the bundle's structures; one alone has no name there, or any.

    Raises:
        DelineateError: the data list lacks one, or has several where the bundle outlines one.
    """
    names, needed = [one.name for one in datalist.structures], [one.name for one in wanted]
    if len(needed) <= 1 and len(names) <= 1:
        return dict.fromkeys(needed or [""], next(iter(names), ""))
    if needed and set(needed) <= set(names):
        if unused := [name for name in names if name not in needed]:
            logger.info(f"of {datalist.path} the structures {', '.join(unused)} are not used")
        return {name: name for name in needed}
    has = f"has the structures {', '.join(names)}" if names else "has one structure, without a name"
    outlines = ", ".join(needed) or "one, without a name"
    raise DelineateError(f"{datalist.path} {has}, and the bundle outlines {outlines}; {_way_out(datalist, names)}")


def _way_out(datalist: Datalist, names: Sequence[str]) -> str:
    """What to do where bundle and data are of different structures."""
    if not names:
        return "take data in which they are annotated; --structure NAME=VALUES of 'delineate data index' names them"
    drawn = (one for _, item in datalist.labelled() for one in item.structures.values())
    by_values = any(one and one.files is None for one in drawn)
    joined = (
        ", or index again with --labels, which makes one structure of the values that it names" if by_values else ""
    )
    new = f'delineate bundle new BUNDLE --structures "{",".join(names)}" --channels rgb'
    return f"take other data, or train a bundle made for these: {new} (or grey){joined}"


def _renamed(item: Item, named: Mapping[str, str]) -> Item:
    """An item whose structures have the bundle's names."""
    if not item.structures:
        return item
    return replace(item, structures={ours: item.structures.get(theirs) for ours, theirs in named.items()})


def _nothing_in(path: Path, datalist: Datalist, split: str, missing: int) -> DelineateError:
    sizes = {name: len(datalist.part(name)) for name in SPLITS}
    if missing:
        return DelineateError(
            f"{path}: none of the {missing} files of the split {split!r} is there; restore them, or index again"
        )
    if not any(sizes.values()) and (split == ALL or datalist.part("unlabelled")):
        return DelineateError(
            f"{path}: no image has a label, so the split {split!r} is empty; add masks to the images, and index again"
        )
    known = ", ".join(f"{name} {size}" for name, size in sizes.items())
    return DelineateError(
        f"{path}: the split {split!r} is empty ({known}); take another one, or split again: delineate data split"
    )


def named_paths(fields: Mapping[str, Any]) -> list[str]:
    """The files and folders that an item names."""
    item = Item.from_fields(fields)
    return [str(path) for path in (*item.files, *item.label)]


def compare_slicing(datalist: Datalist, slicing: Mapping[str, Any] | None) -> None:
    """See that a data set of slices was cut as they will be read; nothing is compared where either is not known.

    Raises:
        DelineateError: it was not.
    """
    if slicing is None or datalist.slicing is None:
        return
    cut, read = datalist.slicing.as_dict(), Slicing.of(slicing).as_dict()
    if names := [name for name in cut if cut[name] != read[name]]:
        was, now = (", ".join(f"{name}={settings[name]}" for name in names) for settings in (cut, read))
        trained_on = "pictures" if read["axis"] is None else f"slices with {now}"
        raise DelineateError(
            f"{datalist.path} was cut with {was}; this run was trained on {trained_on}, and the network would see "
            "something else; use a run that was trained on this data set: delineate train"
        )


def _select(path: Path, datalist: Datalist, split: str, fold: int | None) -> Sequence[Item]:
    """The split's items; with folds, training and validation are both taken from ``training``."""
    if split == ALL and fold is not None:
        raise DelineateError(f"fold {fold} says nothing of all labelled images; leave fold out, or name a split")
    if split == ALL:
        return [item for _, item in datalist.labelled()]
    items = datalist.part("training" if fold is not None and split != "test" else cast("Split", split))
    folds = sorted({item.fold for item in datalist.part("training") if item.fold is not None})
    if split == "test" or (not folds and fold is None):
        return items
    if not folds:
        raise DelineateError(f"{path} has no folds; leave fold out, or index again with --folds K")
    known = ", ".join(map(str, folds))
    if fold is None:
        raise DelineateError(f"{path} has folds; set fold to the one that is to be the validation: {known}")
    if fold not in folds:
        raise DelineateError(f"{path} has no fold {fold}; there are: {known}")
    return [item for item in items if (item.fold == fold) == (split == "validation")]


def is_there(item: Item) -> bool:
    """Whether all its files exist; those that do not are logged by name."""
    missing = [path for path in (*item.files, *item.label) if not path.exists()]
    for name in missing:
        logger.error(str(InputError(name, "listed in the datalist but not there", "restore it or index again")))
    return not missing


class AugmentedDataset(torch.utils.data.Dataset[Any]):
    """Random transforms over a data set, whose draws depend on seed, epoch and index alone.

    So a training is the same whatever the number of workers, and when it is resumed. Transforms draw from one stream,
    in their order, and get plain tensors.

    Args:
        data: the data set underneath, usually :func:`delineate.pipelines.loading.cached_dataset`.
        transform: random transforms.
        seed: non-negative integer.
    """

    def __init__(self, data: Dataset, transform: Compose, seed: int = 0) -> None:
        self.data, self.transform, self.seed, self.epoch = data, transform, int(seed), 0
        self._random = [one for one in transform.flatten().transforms if isinstance(one, Randomizable)]
        self._draws = np.random.RandomState()

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        self._draws.seed(hash((self.seed, self.epoch, int(index))) % 2**32)
        for one in self._random:  # in each item: another data set may use the same transforms
            one.set_random_state(state=self._draws)
        item = {k: v.as_tensor() if isinstance(v, MetaTensor) else v for k, v in self.data[index].items()}
        with _without_metadata():
            return self.transform(item)


@contextmanager
def _without_metadata() -> Iterator[None]:
    """Have MONAI compute with plain tensors: to note each transform takes longer than to augment a small image.

    MONAI knows this for the whole process alone, so nothing else may prepare images in a thread beside a training.
    """
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


class EpochSampler(DistributedSampler[Any]):
    """The order of the items in an epoch, from seed and epoch alone; the first ``length`` of it where that is given.

    Ignite's ``epoch_length`` would go on with the order of the epoch before, which a resumed training does not know.
    MONAI's trainer tells the epoch to any ``DistributedSampler``. Of several processes that train together each takes
    every n-th of it, so that their batches are that of one process, in parts; where the items cannot be shared equally,
    the first of the order fill the last batch a second time.

    Args:
        dataset: what is drawn from.
        seed: non-negative integer.
        length: items an epoch, of all processes; all where ``None``, or where there are no more.

    Raises:
        DelineateError: when ``length`` is below 1.
    """

    def __init__(self, dataset: torch.utils.data.Dataset[Any], seed: int = 0, length: int | None = None) -> None:
        super().__init__(dataset, num_replicas=process_count(), rank=rank(), seed=seed)
        if length is not None and length < 1:
            raise DelineateError(f"an epoch of {length} items has no batch; set epoch_length to null, 1 or more")
        self.length = None if length is None else ceil(length / self.num_replicas)

    def __iter__(self) -> Iterator[Any]:
        return islice(super().__iter__(), self.length)

    def __len__(self) -> int:
        every = super().__len__()
        return every if self.length is None else min(self.length, every)


class StreamDataset(Stream, IterableDataset[Any]):
    """A `Stream` as torch's ``DataLoader`` takes it."""
