"""What the tests of caches share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import Dataset, MetaTensor
from monai.transforms import Compose, reset_ops_id

from delineate.pipelines.loading.transforms import ReadImaged, ReadMaskd, ResizeToGridd

BYTES = 3 * 16 * 24 + 16 * 24  # of one item on the grid of `make_way`: RGB and mask, 8 bits each
Item = dict[str, Any]


def make_way(rows: int = 16) -> Compose:
    """What training does before the cache."""
    to_grid = [ReadImaged("image", "rgb"), ResizeToGridd("image", [rows, 24])]
    return Compose([*to_grid, ReadMaskd("label"), ResizeToGridd("label", [rows, 24], is_mask=True)])


class Counted:
    """A transform that counts its calls; the count is no parameter of it."""

    calls = 0

    def __init__(self, then: Callable[[Item], Item]) -> None:
        self.then = then

    def __call__(self, item: Item) -> Item:
        Counted.calls += 1
        return self.then(item)


def calls_for(data: Dataset, index: int = 0) -> int:
    """How often the transform is called for an item."""
    before = Counted.calls
    data[index]
    return Counted.calls - before


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types; transforms that did the same need not be the same object."""
    if isinstance(one, MetaTensor):
        parts = [(v.as_tensor(), v.meta, reset_ops_id(v.applied_operations)) for v in (one, other)]
        return same(*parts)
    if isinstance(one, torch.Tensor):
        return type(one) is type(other) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        alike = isinstance(one, tuple) == isinstance(other, tuple) and len(one) == len(other)
        return alike and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)
