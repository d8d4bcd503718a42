from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from delineate.networks.blocks import TwoConv, UpCat, UpCropCat, plain_conv, separable_conv, valid_conv


@pytest.mark.parametrize("conv", [plain_conv, separable_conv, partial(separable_conv, groups=4)])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_convolutions_keep_the_spatial_size(conv, spatial_dims: int) -> None:
    size = (5, 7, 9)[:spatial_dims]
    assert conv(spatial_dims, 4, 8, False)(torch.zeros(2, 4, *size)).shape == (2, 8, *size)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_convolution_without_padding_takes_a_pixel_off_each_side(spatial_dims: int) -> None:
    size = (5, 7, 9)[:spatial_dims]
    inner = tuple(pixels - 2 for pixels in size)
    assert valid_conv(spatial_dims, 4, 8, False)(torch.zeros(2, 4, *size)).shape == (2, 8, *inner)


def test_the_pointwise_convolution_is_ungrouped_unless_told() -> None:
    depthwise, pointwise = separable_conv(2, 8, 12, False)
    assert (depthwise.groups, pointwise.groups) == (8, 1)


@pytest.mark.parametrize(("in_channels", "groups"), [(8, 4), (4, 4), (3, 3), (1, 1)])
def test_the_pointwise_convolution_has_at_most_as_many_groups_as_channels(in_channels: int, groups: int) -> None:
    depthwise, pointwise = separable_conv(2, in_channels, 12, False, groups=4)
    assert (depthwise.groups, pointwise.groups) == (in_channels, groups)


@pytest.mark.parametrize(("bias", "count"), [(False, 0), (True, 2)])
def test_bias_is_given_to_both_convolutions(bias: bool, count: int) -> None:
    convs = [m for m in TwoConv(2, 3, 4, bias=bias) if isinstance(m, nn.Conv2d)]
    assert len([conv for conv in convs if conv.bias is not None]) == count


def test_the_middle_width_is_that_of_the_output_unless_told() -> None:
    assert [TwoConv(2, 3, 8, mid)[0].out_channels for mid in (None, 5)] == [8, 5]


@pytest.mark.parametrize(("spatial_dims", "kind"), [(2, nn.Dropout2d), (3, nn.Dropout3d)])
def test_dropout_follows_each_activation(spatial_dims: int, kind: type[nn.Module]) -> None:
    layers = list(TwoConv(spatial_dims, 3, 4, dropout=0.25))
    assert [(type(layers[i]), layers[i].p) for i in (3, 7)] == [(kind, 0.25)] * 2


def test_without_a_norm_there_is_none() -> None:
    assert [type(layer) for layer in TwoConv(2, 3, 4, norm=None)] == [nn.Conv2d, nn.ReLU] * 2


def test_activation_and_norm_are_taken_by_name() -> None:
    layers = list(TwoConv(2, 3, 4, act=("leakyrelu", {"negative_slope": 0.3}), norm="instance"))
    assert (type(layers[1]), layers[2].negative_slope) == (nn.InstanceNorm2d, 0.3)


@pytest.mark.parametrize("size", [(6, 8), (7, 8), (6, 9), (7, 9)])
def test_upcat_fits_the_size_of_the_skip_connection(size: tuple[int, int]) -> None:
    up = UpCat(nn.Upsample(scale_factor=2), nn.Identity())
    assert up(torch.zeros(1, 2, 3, 4), torch.zeros(1, 3, *size)).shape == (1, 5, *size)


def test_upcat_puts_the_skip_connection_in_front_and_repeats_the_edge() -> None:
    up = UpCat(nn.Upsample(scale_factor=2), nn.Identity())
    merged = up(torch.tensor([[[[1.0], [2.0]]]]), torch.zeros(1, 1, 5, 3))
    assert merged[0, 0].abs().sum() == 0
    assert merged[0, 1].tolist() == [[1.0] * 3] * 2 + [[2.0] * 3] * 3


@pytest.mark.parametrize(("size", "first"), [((10, 12), (2, 2)), ((11, 13), (2, 2)), ((6, 8), (0, 0))])
def test_upcropcat_crops_the_skip_connection_to_its_centre(size: tuple[int, int], first: tuple[int, int]) -> None:
    up = UpCropCat(nn.Upsample(scale_factor=2), nn.Identity())
    skip = torch.arange(size[0] * size[1], dtype=torch.float32).reshape(1, 1, *size)
    merged = up(torch.full((1, 1, 3, 4), -1.0), skip)
    assert torch.equal(merged[0, 0], skip[0, 0, first[0] : first[0] + 6, first[1] : first[1] + 8])
    assert (merged[0, 1] == -1).all()
