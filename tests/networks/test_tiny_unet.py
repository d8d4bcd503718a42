from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from delineate.networks.tiny_unet import CMRF, TinyUNet

SMALL: dict[str, Any] = {"features": (16, 32, 48)}


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def on_meta(**arguments: Any) -> TinyUNet:
    with torch.device("meta"):
        return TinyUNet(**arguments)


def calibrated(**arguments: Any) -> TinyUNet:
    """In evaluation, its batch norms fitted to an image: fresh logits are hardly more than the last bias."""
    torch.manual_seed(0)
    net = TinyUNet(**arguments)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(image(2, 3, 48, 64))
    return net.eval()


def test_the_number_of_parameters_is_within_three_percent_of_the_published_one() -> None:
    parameters = sum(p.numel() for p in on_meta().parameters())
    assert parameters == 481_105
    assert parameters == pytest.approx(480_000, rel=0.03)  # the paper's abstract


def test_a_batch_of_one_of_the_smallest_size_trains() -> None:
    net = TinyUNet()
    net(image(1, 3, net.smallest_size, net.smallest_size)).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(
    ("features", "size", "needed"), [((64, 128, 256, 512), (15, 47), [16, 47]), ((16, 32, 48), (9, 7), [9, 8])]
)
def test_an_image_that_is_too_small_is_refused_with_the_next_valid_size(
    features: tuple[int, ...], size: tuple[int, int], needed: list[int]
) -> None:
    smallest = 2 ** len(features)
    with pytest.raises(ValueError, match=rf"{list(size)} pixels.* {smallest} or more .*{needed}".replace("[", r"\[")):
        on_meta(features=features)(image(1, 3, *size))


def test_torchscript_gives_the_same_logits_at_any_size() -> None:
    net = calibrated(**SMALL)
    scripted = torch.jit.script(net)
    with torch.no_grad():
        for shape in ((1, 3, 33, 47), (2, 3, 16, 20)):
            torch.testing.assert_close(scripted(image(*shape)), net(image(*shape)))


def test_each_convolution_of_the_cascade_sees_a_pixel_further() -> None:
    block = CMRF(3, 64, act="gelu", norm="batch").eval()
    sides: list[int] = []
    for last in range(len(block.cascade)):
        x = torch.zeros(1, 4, 21, 21, requires_grad=True)
        y = x
        for depthwise in block.cascade[: last + 1]:
            y = depthwise(y)
        y[..., 10, 10].sum().backward()
        assert x.grad is not None
        seen = x.grad.abs().sum((0, 1)).nonzero()
        sides.append(int((seen.amax(0) - seen.amin(0)).max()) + 1)
    assert sides == [3, 5, 7, 9, 11, 13, 15]


def test_a_block_sees_as_far_as_its_whole_cascade() -> None:
    block = CMRF(3, 64, act="gelu", norm="batch").double().eval()
    x = image(1, 3, 21, 21).double().requires_grad_()
    block(x)[..., 10, 10].sum().backward()
    assert x.grad is not None
    seen = torch.zeros(21, 21, dtype=torch.bool)
    seen[3:18, 3:18] = True
    assert torch.equal(x.grad.abs().sum((0, 1)) > 0, seen)


def test_the_cascade_is_linear() -> None:
    block = CMRF(3, 64, act="gelu", norm="batch").eval()
    x = image(2, 4, 9, 9) - 0.5
    with torch.no_grad():
        for depthwise in block.cascade:
            torch.testing.assert_close(depthwise(-2 * x), -2 * depthwise(x))


def test_all_convolutions_are_pointwise_or_depthwise() -> None:
    convs = [m for m in on_meta().modules() if isinstance(m, nn.Conv2d)]
    depthwise = [m for m in convs if m.kernel_size == (3, 3)]
    assert len(depthwise) == 8 * 7  # blocks, and the cascade of each
    assert all(m.groups == m.in_channels == m.out_channels for m in depthwise)
    assert {m.kernel_size for m in convs if m not in depthwise} == {(1, 1)}


def test_the_cascade_may_be_of_another_length() -> None:
    net = TinyUNet(features=(16, 32), cascade=3)
    assert [len(block.cascade) for block in net.encoder[:-1]] == [3, 3]
    assert net(image(2, 3, 33, 47)).shape == (2, 1, 33, 47)


def test_activation_and_norm_are_the_asked_ones() -> None:
    net = on_meta(act=("leakyrelu", {"negative_slope": 0.3}), norm=("group", {"num_groups": 2}))
    kinds = {type(m) for m in net.modules()}
    assert kinds & {nn.GELU, nn.LeakyReLU, nn.BatchNorm2d, nn.GroupNorm} == {nn.LeakyReLU, nn.GroupNorm}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 3}, "spatial_dims is 3.* set 2"),
        ({"features": ()}, "no level.* 1 or more"),
        ({"features": (16, 33)}, r"33 channels and the cascade 7 .*multiples of 2 \* \(cascade \+ 1\)"),
        ({"cascade": 0}, "cascade 0 convolutions.* 1 or more"),
    ],
)
def test_what_it_is_not_made_for_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TinyUNet(**arguments)
