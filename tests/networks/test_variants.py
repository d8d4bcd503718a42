from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from delineate.networks import (
    ClassicUNet,
    DepthwiseUNet,
    SEDepthwiseUNet,
    SEUNet,
    SpatialAttentionUNet,
    UltraLightUNet,
    UNet,
)
from delineate.networks.attention import SpatialAttention, SqueezeExcitation

SMALL: dict[str, Any] = {"features": (8, 16, 16)}
each_variant = pytest.mark.parametrize(
    "kind", [UNet, DepthwiseUNet, UltraLightUNet, SEUNet, SEDepthwiseUNet, SpatialAttentionUNet, ClassicUNet]
)
each_way_up = pytest.mark.parametrize("upsample", ["deconv", "nontrainable"])


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def on_meta(kind: type[nn.Module], **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        return kind(**arguments)


def convolutions(network: nn.Module, side: int) -> list[nn.Conv2d]:
    """Those of the blocks, with kernels of so many pixels a side."""
    convs = [m for part in (network.encoder, network.decoder) for m in part.modules() if isinstance(m, nn.Conv2d)]
    return [conv for conv in convs if conv.kernel_size == (side, side)]


@pytest.mark.parametrize(
    ("kind", "arguments", "parameters"),
    [
        (UltraLightUNet, {"upsample": "nontrainable"}, 44_396),
        (SEDepthwiseUNet, {"reduction": 32}, 6_097_308),
        (SEDepthwiseUNet, {"upsample": "nontrainable"}, 2_061_404),
        (ClassicUNet, {"in_channels": 1}, 31_030_593),
        (ClassicUNet, {"in_channels": 1, "mirror": True}, 31_030_593),
    ],
)
def test_the_number_of_parameters_is_as_published(
    kind: type[nn.Module], arguments: dict[str, Any], parameters: int
) -> None:
    assert sum(p.numel() for p in on_meta(kind, **arguments).parameters()) == parameters


@each_variant
@each_way_up
def test_volumes_are_taken_too(kind: type[nn.Module], upsample: str) -> None:
    net = kind(spatial_dims=3, in_channels=1, features=(8, 16), upsample=upsample).eval()
    sides = [net.smallest_size + k * net.divisor for k in (0, 1, 2)]
    inner = [side - getattr(net, "margin", 0) for side in sides]
    with torch.no_grad():
        assert net(image(1, 1, *sides)).shape == (1, 1, *inner)


@each_variant
@each_way_up
def test_torchscript_gives_the_same_logits_at_any_size(kind: type[nn.Module], upsample: str) -> None:
    net = kind(upsample=upsample, **SMALL).eval()
    scripted = torch.jit.script(net)
    with torch.no_grad():
        for steps in ((0, 3), (17, 10)):
            x = image(2, 3, *(net.smallest_size + k * net.divisor for k in steps))
            torch.testing.assert_close(scripted(x), net(x))


@pytest.mark.parametrize("kind", [DepthwiseUNet, SEDepthwiseUNet, SpatialAttentionUNet])
def test_separable_networks_mix_channels_in_1x1_convolutions_alone(kind: type[nn.Module]) -> None:
    net = on_meta(kind)
    assert [conv.groups for conv in convolutions(net, 3)] == [conv.in_channels for conv in convolutions(net, 3)]
    assert {conv.groups for conv in convolutions(net, 1)} == {1}
    assert len(convolutions(net, 3)) == len(convolutions(net, 1)) == 18


def test_the_ultra_light_network_groups_all_but_its_first_block() -> None:
    pointwise = convolutions(on_meta(UltraLightUNet), 1)
    assert [conv.groups for conv in pointwise] == [1, 1] + [4] * (len(pointwise) - 2)


@pytest.mark.parametrize("kind", [SEUNet, SEDepthwiseUNet])
def test_squeeze_and_excitation_ends_every_block(kind: type[nn.Module]) -> None:
    net = on_meta(kind)
    blocks = [*net.encoder, *(up.convs for up in net.decoder)]
    assert [type(block[-1]) for block in blocks] == [SqueezeExcitation] * 9


def test_spatial_attention_ends_the_blocks_that_are_skipped() -> None:
    net = on_meta(SpatialAttentionUNet)
    assert [isinstance(block[-1], SpatialAttention) for block in net.encoder] == [True] * 4 + [False]
    assert not any(isinstance(module, SpatialAttention) for module in net.decoder.modules())


def test_what_spatial_attention_weighs_goes_down_and_into_the_skip_connection() -> None:
    net = SpatialAttentionUNet(**SMALL).eval()
    weighed: list[torch.Tensor] = []
    down: list[torch.Tensor] = []
    skipped: list[torch.Tensor] = []
    for block in net.encoder[:-1]:
        block[-1].register_forward_hook(lambda _, inputs, output: weighed.append(output))
    net.pool.register_forward_pre_hook(lambda _, inputs: down.append(inputs[0]))
    for up in net.decoder:
        up.register_forward_pre_hook(lambda _, inputs: skipped.insert(0, inputs[1]))
    with torch.no_grad():
        net(image(1, 3, 33, 47))
    assert len(weighed) == 2
    assert all(one is other for one, other in zip(weighed, down, strict=True))
    assert all(one is other for one, other in zip(weighed, skipped, strict=True))


@pytest.mark.parametrize(("side", "logits"), [(572, 388), (252, 68), (188, 4)])
@each_way_up
def test_the_classic_network_has_the_sizes_of_the_paper(side: int, logits: int, upsample: str) -> None:
    net = on_meta(ClassicUNet, in_channels=1, upsample=upsample)
    assert net(torch.zeros(1, 1, side, side, device="meta")).shape == (1, 1, logits, logits)


def logits_left(side: int, levels: int) -> int:
    """Pixels a side of the logits by the paper's figure; 0 where there are none, or where a pooling leaves one over."""
    for _ in range(levels - 1):
        side -= 4
        if side < 2 or side % 2:
            return 0
        side //= 2
    side -= 4
    for _ in range(levels - 1):
        side = 2 * side - 4
    return max(side, 0)


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
def test_the_classic_network_takes_the_sizes_that_pool_without_rest(levels: int) -> None:
    net = on_meta(ClassicUNet, features=[2] * levels)
    left = {side: logits_left(side, levels) for side in range(1, 400)}
    taken = {side for side in left if side >= net.smallest_size and (side - net.smallest_size) % net.divisor == 0}
    assert taken == {side for side, logits in left.items() if logits > 0}
    assert {side - left[side] for side in taken} == {net.margin}


def test_the_classic_network_has_neither_padding_nor_norm() -> None:
    net = on_meta(ClassicUNet)
    assert {conv.padding for conv in convolutions(net, 3)} == {(0, 0)}
    assert all(conv.bias is not None for conv in convolutions(net, 3))
    assert not any("Norm" in type(module).__name__ for module in net.modules())


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (2, 61), (44, 44), (100, 3)])
@each_way_up
def test_a_mirrored_image_may_have_any_size(size: tuple[int, int], upsample: str) -> None:
    net = ClassicUNet(mirror=True, upsample=upsample, **SMALL).eval()
    with torch.no_grad():
        logits = net(image(2, 3, *size))
    assert logits.shape == (2, 1, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("size", [(33, 47), (61, 18), (7, 5)])
def test_mirroring_is_what_numpy_makes_of_the_image(size: tuple[int, int]) -> None:
    mirrored, plain = ClassicUNet(mirror=True, **SMALL).eval(), ClassicUNet(**SMALL).eval()
    plain.load_state_dict(mirrored.state_dict())
    x, margin = image(1, 3, *size), int(plain.margin)
    whole = [next(n for n in range(44, 500, 4) if n - margin >= side) for side in size]
    before = [(n - side) // 2 for n, side in zip(whole, size, strict=True)]
    around = [(first, n - side - first) for first, n, side in zip(before, whole, size, strict=True)]
    padded = torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), *around], mode="reflect"))
    top, left = (first - margin // 2 for first in before)
    with torch.no_grad():
        expected = plain(padded)[..., top : top + size[0], left : left + size[1]]
        torch.testing.assert_close(mirrored(x), expected)


def test_the_classic_network_starts_with_the_variance_of_the_paper() -> None:
    net = ClassicUNet(features=(32, 64, 128))
    for name, weight in net.named_parameters():
        if name.endswith("bias"):
            assert not weight.any()
        elif weight[0].numel() > 100:  # enough of them to tell
            inputs = weight.shape[0] if "upsample" in name else weight[0].numel()
            assert weight.var().item() == pytest.approx(2 / inputs, rel=0.1)
