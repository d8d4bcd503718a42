from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim

from delineate.networks.deeplabv3plus import BACKBONES, DeepLabV3Plus

WITHOUT_HEAD = {  # the published classifiers without their last layers
    "resnet18": 11_176_512,
    "resnet34": 21_284_672,
    "resnet50": 23_508_032,
    "efficientnet-b0": 3_595_388,
}
each_backbone = pytest.mark.parametrize("backbone", list(BACKBONES))


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def on_meta(**arguments: Any) -> DeepLabV3Plus:
    with torch.device("meta"):
        return DeepLabV3Plus(**arguments)


def calibrated(**arguments: Any) -> DeepLabV3Plus:
    """In evaluation, batch norms fitted to images: a fresh network's logits are hardly more than the last bias."""
    torch.manual_seed(0)
    net = DeepLabV3Plus(**arguments)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(image(2, 3, 48, 64))
    return net.eval()


@pytest.mark.parametrize(
    ("backbone", "separable", "parameters"),
    [
        ("resnet18", True, 12_333_233),
        ("resnet18", False, 16_602_785),
        ("resnet34", True, 22_441_393),
        ("resnet50", True, 26_690_737),
        ("efficientnet-b0", True, 4_498_093),
    ],
)
def test_the_number_of_parameters_is_pinned(backbone: str, separable: bool, parameters: int) -> None:
    assert count(on_meta(backbone=backbone, separable=separable)) == parameters


@each_backbone
def test_the_encoder_has_the_parameters_of_the_published_one(backbone: str) -> None:
    net = on_meta(backbone=backbone)
    assert count(net.low, net.high) == WITHOUT_HEAD[backbone]


@each_backbone
@pytest.mark.parametrize(("shape", "out_channels"), [((1, 3, 33, 47), 1), ((3, 1, 32, 61), 4), ((2, 5, 64, 32), 1)])
def test_logits_have_the_size_of_the_image(backbone: str, shape: tuple[int, ...], out_channels: int) -> None:
    net = DeepLabV3Plus(in_channels=shape[1], out_channels=out_channels, backbone=backbone).eval()
    with torch.no_grad():
        assert net(image(*shape)).shape == (shape[0], out_channels, *shape[2:])


@each_backbone
@pytest.mark.parametrize(("output_stride", "size"), [(16, (4, 5)), (8, (7, 9))])
def test_the_last_map_has_the_output_stride(backbone: str, output_stride: int, size: tuple[int, int]) -> None:
    net = DeepLabV3Plus(backbone=backbone, output_stride=output_stride).eval()
    maps: list[torch.Size] = []
    net.aspp.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0].shape[2:]))
    net.skip.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0].shape[2:]))
    with torch.no_grad():
        net(image(1, 3, 56, 65))
    assert maps == [size, (14, 17)]  # 65 / 16 and so on, rounded up; then the stride of 4


@each_backbone
def test_a_finer_encoder_computes_the_same_features_at_more_places(backbone: str) -> None:
    coarse, fine = (calibrated(backbone=backbone, output_stride=stride) for stride in (16, 8))
    fine.load_state_dict(coarse.state_dict())
    for module in (*coarse.modules(), *fine.modules()):
        if hasattr(module, "has_se"):
            module.has_se = False  # squeeze and excitation takes a mean over all places
    low = image(1, BACKBONES[backbone][1], 21, 16)
    with torch.no_grad():
        torch.testing.assert_close(fine.high(low)[..., ::2, ::2], coarse.high(low), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize(("output_stride", "rates"), [(16, [1, 6, 12, 18]), (8, [1, 12, 24, 36])])
def test_atrous_rates_double_at_a_stride_of_8(output_stride: int, rates: list[int], separable: bool) -> None:
    net = on_meta(output_stride=output_stride, separable=separable)
    firsts = [next(m for m in branch.modules() if isinstance(m, nn.Conv2d)) for branch in net.aspp.branches]
    assert [conv.dilation for conv in firsts] == [(rate, rate) for rate in rates]


@pytest.mark.parametrize(("separable", "groups"), [(True, {304, 256}), (False, {1})])
def test_the_decoder_is_depthwise_only_where_separable(separable: bool, groups: set[int]) -> None:
    convs = [m for m in on_meta(separable=separable).decoder.modules() if isinstance(m, nn.Conv2d)]
    assert {conv.groups for conv in convs if conv.kernel_size == (3, 3)} == groups


@each_backbone
def test_every_parameter_gets_a_finite_gradient(backbone: str) -> None:
    torch.manual_seed(0)  # an EfficientNet drops whole blocks
    net = DeepLabV3Plus(backbone=backbone)
    net(image(2, 3, 33, 47)).square().mean().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    unused = [n for n, p in net.named_parameters() if p.grad is not None and not p.grad.any()]
    assert (without, unused) == ([], [])


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_gradients_pass_the_shortcuts(backbone: str) -> None:
    net = DeepLabV3Plus(backbone=backbone).eval()
    for name, parameter in net.high.named_parameters():
        if "downsample" not in name:
            parameter.data.zero_()
    low = image(1, BACKBONES[backbone][1], 8, 8).requires_grad_()
    net.high(low).sum().backward()
    assert low.grad is not None
    assert low.grad.any()


@each_backbone
def test_a_batch_of_one_of_the_smallest_size_trains(backbone: str) -> None:
    net = DeepLabV3Plus(backbone=backbone)
    net(image(1, 3, net.smallest_size, net.smallest_size)).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_an_exported_network_takes_any_size_and_batch_with_the_other_encoder() -> None:
    net = calibrated(backbone="efficientnet-b0")
    sizes = {0: Dim("batch", min=1), 2: Dim("height", min=32), 3: Dim("width", min=32)}
    exported = torch.export.export(net, (image(2, 3, 48, 64),), dynamic_shapes=(sizes,)).module()
    with torch.no_grad():
        for shape in ((1, 3, 32, 32), (3, 3, 61, 47)):
            logits = net(image(*shape))
            assert logits.std() > 0.01
            torch.testing.assert_close(exported(image(*shape)), logits, rtol=0, atol=1e-4)


@each_backbone
def test_the_norm_is_that_of_the_encoder_too(backbone: str) -> None:
    kinds = {type(m) for m in on_meta(backbone=backbone, norm=("group", {"num_groups": 8})).modules()}
    assert nn.GroupNorm in kinds
    assert nn.BatchNorm2d not in kinds


def test_the_activation_is_that_of_pyramid_and_decoder() -> None:
    net = on_meta(act=("leakyrelu", {"negative_slope": 0.3}))
    for part in (net.aspp, net.skip, net.decoder):
        assert {type(m) for m in part.modules()} & {nn.ReLU, nn.LeakyReLU} == {nn.LeakyReLU}


def test_dropout_follows_the_pyramid() -> None:
    assert [m.p for m in on_meta(dropout=0.25).modules() if isinstance(m, nn.Dropout)] == [0.25]


def test_an_image_that_is_too_small_is_refused_with_the_next_valid_size() -> None:
    with pytest.raises(ValueError, match=r"\[31, 47\] pixels.* 32 or more .*\[32, 47\]"):
        on_meta()(image(1, 3, 31, 47))


def test_an_unknown_backbone_is_answered_with_the_closest_name() -> None:
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        DeepLabV3Plus(backbone="resnet-18")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"spatial_dims": 3}, "spatial_dims is 3.* set 2"), ({"output_stride": 32}, "output_stride is 32; set 16, or 8")],
)
def test_volumes_and_other_output_strides_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepLabV3Plus(**arguments)


def test_torchscript_gives_the_same_logits_at_any_size() -> None:
    net, x = calibrated(), image(1, 3, 47, 61)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(net)(x), net(x))
