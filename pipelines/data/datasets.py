"""Data sets for training and judging: the datalist's items, cached, streamed, augmented."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import torch
from monai.data import CacheDataset, Dataset, MetaTensor, PersistentDataset, load_decathlon_datalist
from monai.data.utils import pickle_hashing
from monai.transforms import Compose
from torch.utils.data import DistributedSampler, IterableDataset

from ..errors import DelineateError, InputError, UnknownNameError

logger = logging.getLogger(__name__)
SPLITS = ("training", "validation", "test")
_FIELDS = ("image", "label", "group", "class")

Item = dict[str, Any]


def load_datalist(dataset_dir: str | Path, split: str, *, skip_missing: bool = True) -> list[Item]:
    """Items of one split of a data set's ``datalist.json``, with absolute paths.

    Args:
        dataset_dir: folder that holds ``datalist.json``, as ``delineate data index`` writes it.
        split: ``"training"``, ``"validation"`` or ``"test"``.
        skip_missing: whether items whose files are missing are left out, and logged by name; an evaluation keeps
            them, so that they are counted as refused.

    Returns:
        items with ``image`` (path), ``label`` (path or list of paths), ``group`` and, where known, ``class``.

    Raises:
        DelineateError: when there is no datalist, or nothing is left in the split.
        UnknownNameError: when there is no such split.
    """
    path = Path(dataset_dir) / "datalist.json"
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if not path.is_file():
        raise DelineateError(
            f"{dataset_dir} has no datalist.json; index images first: delineate data index SOURCE --out {dataset_dir}"
        )
    found = _read_split(path, split)
    items = [
        {key: item[key] for key in _FIELDS if key in item} for item in found if not skip_missing or _is_there(item)
    ]
    if not items:
        raise DelineateError(f"{path}: the split {split!r} has no usable item; index the images again")
    return items


def _read_split(path: Path, split: str) -> list[Item]:
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, f"is no JSON ({error})", "index the images again") from error
    if not isinstance(lists, dict) or not lists.get(split):
        return []  # MONAI's reader raises IndexError on an empty split
    found: list[Item] = load_decathlon_datalist(str(path), is_segmentation=True, data_list_key=split)
    return found


def _is_there(item: Item) -> bool:
    labels = item.get("label", [])
    missing = [p for p in [item["image"], *([labels] if isinstance(labels, str) else labels)] if not Path(p).is_file()]
    for name in missing:
        logger.error(str(InputError(name, "listed in the datalist but not there", "restore it or index again")))
    return not missing


def cached_dataset(
    data: Sequence[Item],
    transform: Callable[..., Any],
    cache_dir: str | Path | None = None,
    budget_gb: float | None = None,
) -> Dataset:
    """The transformed items in memory, or, where they do not fit, on disk.

    The cache's size is estimated from a few items and logged before it is filled.

    Args:
        data: items as :func:`load_datalist` gives them.
        transform: deterministic transforms; what they return is cached.
        cache_dir: where ``PersistentDataset`` keeps tensors when memory is not enough; without it the items are
            then read anew each time.
        budget_gb: memory that the cache may take, in GB (1e9 bytes); half of the free memory where ``None``.

    Returns:
        ``CacheDataset``, ``PersistentDataset`` or plain ``Dataset``.
    """
    needed = estimate_bytes(data, transform)
    budget = psutil.virtual_memory().available // 2 if budget_gb is None else int(budget_gb * 1e9)
    place = "memory" if needed <= budget else f"disk ({cache_dir})" if cache_dir else "no cache"
    logger.info(f"cache: {len(data)} items, {needed / 1e6:.0f} MB, budget {budget / 1e6:.0f} MB: {place}")
    if needed <= budget:
        return CacheDataset(data, transform, num_workers=2, progress=False)
    if cache_dir:
        return PersistentDataset(data, transform, cache_dir, hash_transform=pickle_hashing)
    return Dataset(data, transform)


def estimate_bytes(data: Sequence[Item], transform: Callable[..., Any], samples: int = 5) -> int:
    """Bytes that all the transformed items take, judged from ``samples`` of them spread over ``data``."""
    if not data:
        return 0
    chosen = [data[i * len(data) // samples] for i in range(samples)]
    sizes = [
        value.numel() * value.element_size()
        for item in chosen
        for value in transform(item).values()
        if isinstance(value, torch.Tensor)
    ]
    return sum(sizes) * len(data) // samples


class AugmentedDataset(torch.utils.data.Dataset[Any]):
    """Random transforms over a data set, whose draws depend on seed, epoch and index alone.

    So a training is the same whatever the number of workers, and when it is resumed.

    Args:
        data: the data set underneath, usually :func:`cached_dataset`.
        transform: random transforms.
        seed: non-negative integer.
    """

    def __init__(self, data: Dataset, transform: Compose, seed: int = 0) -> None:
        self.data, self.transform, self.seed, self.epoch = data, transform, int(seed), 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        self.transform.set_random_state(seed=hash((self.seed, self.epoch, int(index))) % 2**32)
        # plain tensors: MONAI's random transforms note themselves in the metadata, which is the cache's own
        item = {k: v.as_tensor() if isinstance(v, MetaTensor) else v for k, v in self.data[index].items()}
        return self.transform(item)


class EpochSampler(DistributedSampler[Any]):
    """The order of the items in an epoch, from seed and epoch alone; the first ``length`` of it where that is given.

    Ignite's ``epoch_length`` would go on with the order of the epoch before, which a resumed training does not know.
    MONAI's trainer tells the epoch to any ``DistributedSampler``.

    Args:
        dataset: what is drawn from.
        seed: non-negative integer.
        length: items an epoch; all where ``None``, or where there are no more.

    Raises:
        DelineateError: when ``length`` is below 1.
    """

    def __init__(self, dataset: torch.utils.data.Dataset[Any], seed: int = 0, length: int | None = None) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, seed=seed)
        if length is not None and length < 1:
            raise DelineateError(f"an epoch of {length} items has no batch; set epoch_length to null, 1 or more")
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        return islice(super().__iter__(), self.length)

    def __len__(self) -> int:
        every = super().__len__()
        return every if self.length is None else min(self.length, every)


class StreamDataset(IterableDataset[Any]):
    """Items read one after the other; a refused one is logged by name and the rest goes on.

    Args:
        data: items.
        transform: reads and prepares an item.
        on_error: called with each ``InputError``; logs it where ``None``.
    """

    def __init__(
        self,
        data: Sequence[Item],
        transform: Callable[[Item], Any],
        on_error: Callable[[InputError], None] | None = None,
    ) -> None:
        self.data, self.transform = data, transform
        self.on_error = on_error or (lambda error: logger.error(str(error)))
        self.refused: list[InputError] = []

    def __iter__(self) -> Iterator[Any]:
        self.refused = []
        for item in self.data:
            try:
                ready = self.transform(item)
            except Exception as error:
                cause = refusal(error)
                if cause is None:
                    raise
                self.refused.append(cause)
                self.on_error(cause)
                continue
            yield ready


def refusal(error: BaseException | None) -> InputError | None:
    """The ``InputError`` that ``error`` is or was raised from: MONAI wraps what its transforms raise."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error
