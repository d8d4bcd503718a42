"""From probabilities to a mask of each structure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import AsDiscreted

from delineate.pipelines.core.errors import DelineateError, UnknownNameError
from delineate.pipelines.loading import StructureMasksd

CHEST = [{"name": "heart", "threshold": 0.3}, {"name": "lung"}]
PROBABILITIES = st.lists(st.floats(0, 1, width=32), min_size=12, max_size=12)


def cut(pixels: Any, *structures: Any, **settings: Any) -> tuple[torch.Tensor, torch.Tensor]:
    pred = MetaTensor(torch.as_tensor(pixels, dtype=torch.float32))
    item = StructureMasksd("pred", *structures, **settings)({"pred": pred})
    return item["pred"], item["probability"]


@given(PROBABILITIES, st.floats(0, 1))
def test_the_mask_of_one_structure_is_that_of_one_threshold(values: list[float], threshold: float) -> None:
    pred = MetaTensor(torch.tensor(values).reshape(1, 3, 4))
    mask, probability = cut(pred, threshold=threshold)
    before = AsDiscreted("pred", threshold=threshold, dtype=torch.uint8)({"pred": pred})["pred"]
    assert mask.dtype == torch.uint8
    assert torch.equal(mask, before)
    assert torch.equal(probability, pred)


def test_each_structure_has_its_threshold_and_they_may_overlap() -> None:
    mask, probability = cut([[[0.3, 0.2]], [[0.5, 0.4]]], CHEST)
    assert mask.tolist() == [[[1, 0]], [[1, 0]]]
    assert probability.shape == (2, 1, 2)
    assert cut([[[0.3, 0.2]], [[0.5, 0.4]]], CHEST, threshold={"lung": 0.4})[0].tolist() == [[[1, 0]], [[1, 1]]]
    assert cut([[[0.3, 0.2]], [[0.5, 0.4]]], CHEST, threshold=0.45)[0].tolist() == [[[0, 0]], [[1, 0]]]


@given(PROBABILITIES, st.none() | st.floats(0, 1))
def test_exclusive_structures_never_overlap(values: list[float], threshold: float | None) -> None:
    channels = torch.tensor(values).reshape(3, 2, 2).softmax(0)
    mask, probability = cut(channels, [{"name": "a"}, {"name": "b"}], exclusive=True, threshold=threshold)
    assert mask.shape == (2, 2, 2)
    assert mask.sum(0).max() <= 1
    assert torch.equal(probability, channels[1:])


def test_of_exclusive_structures_the_greatest_is_enough_and_the_first_wins_a_tie() -> None:
    channels = [[[0.3, 0.4, 0.2]], [[0.4, 0.4, 0.4]], [[0.3, 0.2, 0.4]]]
    mask, _ = cut(channels, [{"name": "a"}, {"name": "b"}], exclusive=True)
    assert mask.tolist() == [[[1, 0, 1]], [[0, 0, 0]]]


def test_a_threshold_of_an_exclusive_structure_is_needed_beside() -> None:
    channels = [[[0.2, 0.2]], [[0.45, 0.6]], [[0.35, 0.2]]]
    named = [{"name": "a", "threshold": 0.5}, {"name": "b"}]
    assert cut(channels, named, exclusive=True)[0].tolist() == [[[0, 1]], [[0, 0]]]


@pytest.mark.parametrize("exclusive", [False, True])
def test_more_or_fewer_channels_than_structures_are_refused(exclusive: bool) -> None:
    with pytest.raises(DelineateError, match="out_channels"):
        cut(torch.zeros(4, 2, 2), CHEST, exclusive=exclusive)


def test_a_threshold_of_no_structure_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'heart'"):
        StructureMasksd("pred", CHEST, threshold={"hart": 0.2})
