from __future__ import annotations

import pytest
import torch
from torch import nn

from delineate.networks.attention import SpatialAttention, SqueezeExcitation

each_size = pytest.mark.parametrize("size", [(5, 7), (3, 5, 7)])


def image(*shape: int) -> torch.Tensor:
    """Greater than 0."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.1


def sides_of(x: torch.Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


@each_size
def test_squeeze_and_excitation_has_one_weight_a_channel_from_0_to_1(size: tuple[int, ...]) -> None:
    x = image(2, 6, *size)
    weights = SqueezeExcitation(6, reduction=2)(x) / x
    torch.testing.assert_close(weights, weights.mean(sides_of(x), keepdim=True).expand_as(x))
    assert ((weights > 0) & (weights < 1)).all()
    assert weights.std(dim=1).min() > 1e-3


def test_squeeze_and_excitation_knows_only_the_mean_of_each_channel() -> None:
    attention = SqueezeExcitation(6, reduction=2)
    x = image(2, 6, 5, 7)
    flat = x.mean((2, 3), keepdim=True).expand(2, 6, 4, 3)
    weights, of_means = (attention(each).sum((2, 3)) / each.sum((2, 3)) for each in (x, flat))
    torch.testing.assert_close(weights, of_means)


def test_squeeze_and_excitation_computes_what_the_paper_says() -> None:
    attention = SqueezeExcitation(2, reduction=1)
    first, second = (module for module in attention.weigh if isinstance(module, nn.Linear))
    first.weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    second.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x = torch.tensor([3.0, 1.0]).reshape(1, 2, 1, 1)
    logistic = 1 / (1 + torch.tensor([-2.0, 0.0]).exp())  # of 3 - 1, and of 1 - 3 cut off at 0
    torch.testing.assert_close(attention(x).flatten(), x.flatten() * logistic)


@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(64, 16, 4), (33, 2, 16), (8, 16, 1)])
def test_the_hidden_layer_is_narrower_by_the_reduction(channels: int, reduction: int, hidden: int) -> None:
    attention = SqueezeExcitation(channels, reduction)
    assert sum(p.numel() for p in attention.parameters()) == 2 * channels * hidden


@each_size
def test_spatial_attention_has_one_weight_a_pixel_from_0_to_1(size: tuple[int, ...]) -> None:
    x = image(2, 6, *size)
    weights = SpatialAttention(len(size))(x) / x
    torch.testing.assert_close(weights, weights.mean(1, keepdim=True).expand_as(x))
    assert ((weights > 0) & (weights < 1)).all()
    assert weights[0, 0].std() > 1e-3


@pytest.mark.parametrize("summary", ["mean", "amax"])
def test_spatial_attention_looks_at_the_mean_and_the_maximum_over_channels(summary: str) -> None:
    attention, x = SpatialAttention(), image(2, 6, 5, 7)
    attention.conv.weight.data.zero_()
    attention.conv.weight.data[0, ["mean", "amax"].index(summary), 3, 3] = 1.0
    expected = x * getattr(x, summary)(1, keepdim=True).sigmoid()
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize(("kernel_size", "reach"), [(7, 3), (3, 1)])
def test_spatial_attention_sees_half_a_kernel_far(kernel_size: int, reach: int) -> None:
    attention, x = SpatialAttention(kernel_size=kernel_size), torch.ones(1, 2, 15, 17)
    changed = x.clone()
    changed[..., 7, 8] = 2.0
    rows, columns = (attention(changed) != attention(x))[0, 0].nonzero().T
    assert (rows.min(), rows.max()) == (7 - reach, 7 + reach)
    assert (columns.min(), columns.max()) == (8 - reach, 8 + reach)
