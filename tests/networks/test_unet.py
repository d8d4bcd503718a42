from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from delineate.networks import UNet

SMALL: dict[str, Any] = {"features": (4, 8, 16)}
each_way_up = pytest.mark.parametrize("upsample", ["deconv", "nontrainable"])


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_the_bilinear_network_has_the_parameters_that_are_published() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet(upsample="nontrainable").parameters()) == 17_262_977


@each_way_up
def test_volumes_are_taken_too(upsample: str) -> None:
    net = UNet(spatial_dims=3, in_channels=1, upsample=upsample, **SMALL).eval()
    with torch.no_grad():
        assert net(image(1, 1, 5, 6, 9)).shape == (1, 1, 5, 6, 9)


@pytest.mark.parametrize(("levels", "smallest"), [(2, 2), (3, 4), (5, 16)])
def test_each_level_doubles_the_smallest_size_and_any_larger_one_is_valid(levels: int, smallest: int) -> None:
    net = UNet(features=[4] * levels).eval()
    assert (net.smallest_size, net.divisor) == (smallest, 1)
    with torch.no_grad():
        for size in ((smallest, smallest), (smallest + 1, 2 * smallest + 1)):
            assert net(image(1, 3, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1)])
def test_an_image_smaller_than_the_smallest_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"\[{size[0]}, {size[1]}\] pixels.* 16 or more .*resize or pad"):
        UNet(features=(4, 4, 4, 4, 4))(image(1, 3, *size))


def test_too_few_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        UNet(features=(8,))


def test_an_unknown_way_up_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'bilinear'.*'nontrainable'"):
        UNet(upsample="bilinear")


def test_the_bilinear_network_has_no_transposed_convolution() -> None:
    kinds = {type(m) for m in UNet(upsample="nontrainable", **SMALL).modules()}
    assert nn.Upsample in kinds
    assert nn.ConvTranspose2d not in kinds


@each_way_up
def test_the_logits_depend_on_every_level(upsample: str) -> None:
    net = UNet(upsample=upsample, **SMALL).eval()
    x = image(1, 3, 33, 47)
    with torch.no_grad():
        expected = net(x)
        for level, block in enumerate(net.encoder):
            hook = block.register_forward_hook(lambda _, inputs, output: torch.zeros_like(output))
            assert not torch.equal(net(x), expected), level
            hook.remove()
