from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler, TensorDataset

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.loading.datasets import EpochSampler


def items(count: int) -> TensorDataset:
    import torch

    return TensorDataset(torch.arange(count))


def drawn(count: int, seed: int, epoch: int, length: int | None = None) -> list[int]:
    sampler = EpochSampler(items(count), seed, length)
    sampler.set_epoch(epoch)
    assert len(sampler) == len(list(sampler))
    return list(sampler)


@given(count=st.integers(1, 61), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_without_a_length_the_order_is_that_of_torch(count: int, seed: int, epoch: int) -> None:
    theirs = DistributedSampler(items(count), num_replicas=1, rank=0, seed=seed)
    theirs.set_epoch(epoch)
    assert drawn(count, seed, epoch) == list(theirs)


@given(count=st.integers(1, 61), length=st.integers(1, 99), epoch=st.integers(0, 99))
def test_a_shorter_epoch_is_the_beginning_of_a_whole_one(count: int, length: int, epoch: int) -> None:
    assert drawn(count, 0, epoch, length) == drawn(count, 0, epoch)[:length]


def test_short_epochs_see_all_items_in_the_end() -> None:
    assert {i for epoch in range(50) for i in drawn(33, 0, epoch, 7)} == set(range(33))


@pytest.mark.parametrize("length", [0, -8])
def test_an_epoch_without_items_is_refused(length: int) -> None:
    with pytest.raises(DelineateError, match="set epoch_length to null, 1 or more"):
        EpochSampler(items(5), 0, length)
