from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.layers.simplelayers import SkipConnection
from torch import nn

from delineate.networks.cmunext import CMUNeXt

SMALLER: dict[str, Any] = {
    "features": (8, 16, 32, 64, 128),
    "depths": (1, 1, 1, 1, 1),
    "kernel_sizes": (3, 3, 7, 7, 9),
}
LARGER: dict[str, Any] = {
    "features": (32, 64, 128, 256, 512),
    "depths": (1, 1, 1, 6, 3),
    "kernel_sizes": (3, 3, 7, 7, 7),
}
TINY: dict[str, Any] = {"features": (4, 8, 5), "depths": (1, 2, 1), "kernel_sizes": (3, 7, 9)}


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def on_meta(**arguments: Any) -> CMUNeXt:
    with torch.device("meta"):
        return CMUNeXt(**arguments)


def calibrated(**arguments: Any) -> CMUNeXt:
    """In evaluation, its batch norms fitted to an image: fresh logits are hardly more than the last bias."""
    torch.manual_seed(0)
    net = CMUNeXt(**arguments)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(image(2, 3, 48, 64))
    return net.eval()


def depthwise(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1]


def test_the_number_of_parameters_is_within_three_percent_of_the_published_one() -> None:
    assert count(on_meta()) == 3_149_185
    assert count(on_meta()) == pytest.approx(3_150_000, rel=0.03)


@pytest.mark.parametrize(("arguments", "parameters"), [(SMALLER, 417_505), (LARGER, 8_286_721)])
def test_the_smaller_and_the_larger_network_are_a_matter_of_arguments(
    arguments: dict[str, Any], parameters: int
) -> None:
    assert count(on_meta(**arguments)) == parameters


def test_volumes_are_taken_too() -> None:
    net = CMUNeXt(spatial_dims=3, in_channels=1, **TINY).eval()
    with torch.no_grad():
        assert net(image(1, 1, 5, 6, 9)).shape == (1, 1, 5, 6, 9)


@pytest.mark.parametrize(("arguments", "smallest"), [({}, 16), (TINY, 4)])
def test_an_image_that_is_too_small_is_refused_with_the_next_valid_size(
    arguments: dict[str, Any], smallest: int
) -> None:
    with pytest.raises(ValueError, match=rf"\[{smallest - 1}, 47\] pixels.* {smallest} or more .*\[{smallest}, 47\]"):
        on_meta(**arguments)(image(1, 3, smallest - 1, 47))


def test_an_image_of_exactly_the_smallest_size_is_taken() -> None:
    net = CMUNeXt().eval()
    with torch.no_grad():
        assert net(image(1, 3, net.smallest_size, net.smallest_size)).isfinite().all()


def test_a_batch_of_one_trains_from_two_pixels_at_the_bottom() -> None:
    net = CMUNeXt()
    net(image(1, 3, 16, 32)).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_torchscript_gives_the_same_logits_at_any_size() -> None:
    net = calibrated(**TINY)
    scripted = torch.jit.script(net)
    with torch.no_grad():
        for shape in ((1, 3, 33, 47), (2, 3, 16, 20)):
            torch.testing.assert_close(scripted(image(*shape)), net(image(*shape)))


@pytest.mark.parametrize("arguments", [{}, SMALLER, LARGER], ids=["published", "smaller", "larger"])
def test_each_level_has_its_large_depthwise_kernels_at_the_width_of_the_level_above(arguments: dict[str, Any]) -> None:
    features = arguments.get("features", (16, 32, 128, 160, 256))
    kernel_sizes = arguments.get("kernel_sizes", (3, 3, 7, 7, 7))
    depths = arguments.get("depths", (1, 1, 1, 3, 1))
    widths = (features[0], *features[:-1])
    for block, width, size, depth in zip(on_meta(**arguments).encoder, widths, kernel_sizes, depths, strict=True):
        assert [(m.in_channels, m.kernel_size) for m in depthwise(block)] == [(width, (size, size))] * depth


def test_every_large_kernel_has_a_shortcut_and_is_followed_by_an_inverted_bottleneck() -> None:
    for block in on_meta().encoder:
        for shortcut, bottleneck in (m for m in block if isinstance(m[0], SkipConnection)):
            width = depthwise(shortcut)[0].in_channels
            convs = [m for m in bottleneck.modules() if isinstance(m, nn.Conv2d)]
            assert [m.weight.shape for m in convs] == [(4 * width, width, 1, 1), (width, 4 * width, 1, 1)]


def test_large_kernels_are_normed_after_their_activation() -> None:
    shortcut = on_meta().encoder[0][0][0]
    assert [type(m) for m in shortcut.submodule] == [nn.Conv2d, nn.GELU, nn.BatchNorm2d]


def test_a_large_kernel_that_gives_nothing_lets_its_input_through() -> None:
    shortcut = CMUNeXt(**TINY).eval().encoder[1][0][0]
    for parameter in shortcut.parameters():
        parameter.data.zero_()
    x = image(1, 4, 9, 9)
    with torch.no_grad():
        assert torch.equal(shortcut(x), x)


def test_skip_fusion_convolves_skip_and_upsampled_apart_before_it_mixes_them() -> None:
    apart = calibrated().decoder[0].convs[0].double()
    x = image(1, 320, 5, 7).double()
    changed = torch.cat([x[:, :160] + 1, x[:, 160:]], dim=1)
    with torch.no_grad():
        same = (apart(x) == apart(changed)).flatten(2).all(2)[0]
    assert not same[:160].any()
    assert same[160:].all()


def test_activations_and_norm_are_the_asked_ones() -> None:
    net = on_meta(act=("leakyrelu", {"negative_slope": 0.3}), conv_act="elu", norm=("group", {"num_groups": 4}))
    acts = {nn.GELU, nn.ReLU, nn.LeakyReLU, nn.ELU}
    assert {type(m) for m in net.stem} & acts == {nn.ELU}
    kinds = {type(m) for m in net.modules()}
    assert kinds & (acts | {nn.BatchNorm2d, nn.GroupNorm}) == {nn.ELU, nn.LeakyReLU, nn.GroupNorm}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": (8, 16)}, r"have 2, 5 and 5 level\(s\); give one number a level"),
        ({"features": (8,), "depths": (1,), "kernel_sizes": (3,)}, r"1, 1 and 1 level.* 2 levels or more"),
        ({"kernel_sizes": (3, 3, 7, 8, 7)}, r"\(3, 3, 7, 8, 7\), an even kernel .*set odd ones"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CMUNeXt(**arguments)
