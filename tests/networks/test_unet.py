from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

from delineate.networks import UltraLightUNet, UNet

SMALL: dict[str, Any] = {"features": (4, 8, 16)}
KINDS = [(network, upsample) for network in (UNet, UltraLightUNet) for upsample in ("deconv", "nontrainable")]


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("network", "arguments", "parameters"),
    [
        (UNet, {}, 31_037_633),
        (UNet, {"upsample": "nontrainable"}, 17_262_977),
        (UltraLightUNet, {}, 239_676),
        (UltraLightUNet, {"upsample": "nontrainable"}, 44_396),
    ],
)
def test_the_number_of_parameters_is_as_published(network, arguments: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        assert count(network(**arguments)) == parameters


@pytest.mark.parametrize(("network", "upsample"), KINDS)
@pytest.mark.parametrize("shape", [(1, 3, 33, 47), (3, 1, 32, 16), (2, 5, 17, 64)])
def test_logits_have_the_size_of_the_image(network, upsample: str, shape: tuple[int, ...]) -> None:
    net = network(in_channels=shape[1], out_channels=4, features=(4, 8, 16, 32, 64), upsample=upsample).eval()
    with torch.no_grad():
        assert net(image(*shape)).shape == (shape[0], 4, *shape[2:])


@pytest.mark.parametrize("upsample", ["deconv", "nontrainable"])
def test_volumes_are_taken_too(upsample: str) -> None:
    net = UNet(spatial_dims=3, in_channels=1, upsample=upsample, **SMALL).eval()
    with torch.no_grad():
        assert net(image(1, 1, 5, 6, 9)).shape == (1, 1, 5, 6, 9)


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1)])
def test_an_image_smaller_than_the_divisor_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"\[{size[0]}, {size[1]}\] pixels.* at least 16 .*resize or pad"):
        UltraLightUNet()(image(1, 3, *size))


def test_an_image_of_exactly_the_divisor_is_taken() -> None:
    with torch.no_grad():
        assert UltraLightUNet().eval()(image(1, 3, 16, 16)).isfinite().all()


def test_too_few_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        UNet(features=(8,))


def test_an_unknown_way_up_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'bilinear'.*'nontrainable'"):
        UNet(upsample="bilinear")


@pytest.mark.parametrize(("network", "upsample"), KINDS)
def test_every_parameter_gets_a_finite_gradient(network, upsample: str) -> None:
    net = network(upsample=upsample, **SMALL)
    net(image(2, 3, 33, 47)).square().mean().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    unused = [n for n, p in net.named_parameters() if p.grad is not None and not p.grad.any()]
    assert (without, unused) == ([], [])


@pytest.mark.parametrize(("network", "upsample"), KINDS)
def test_a_state_dict_makes_another_network_the_same(network, upsample: str) -> None:
    one, other = (network(upsample=upsample, **SMALL).eval() for _ in range(2))
    one.encoder[0](image(2, 3, 8, 8))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    x = image(1, 3, 33, 47)
    with torch.no_grad():
        assert not torch.equal(one(x), other(x))
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(one(x), other(x))


@pytest.mark.parametrize(("network", "upsample"), KINDS)
def test_torchscript_gives_the_same_logits_at_any_size(network, upsample: str) -> None:
    net = network(upsample=upsample, **SMALL).eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(net), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    with torch.no_grad():
        for shape in ((1, 3, 33, 47), (2, 3, 16, 20)):
            torch.testing.assert_close(scripted(image(*shape)), net(image(*shape)))


def test_the_bilinear_network_has_no_transposed_convolution() -> None:
    kinds = {type(m) for m in UNet(upsample="nontrainable", **SMALL).modules()}
    assert nn.Upsample in kinds
    assert nn.ConvTranspose2d not in kinds


def test_the_ultra_light_network_groups_all_but_its_first_block() -> None:
    net = UltraLightUNet()
    pointwise = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m is not net.out]
    assert [m.groups for m in pointwise] == [1, 1] + [4] * (len(pointwise) - 2)
