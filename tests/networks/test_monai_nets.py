from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss
from monai.networks import nets
from monai.utils import optional_import
from torch import nn
from torch.export import Dim

from delineate.networks import monai_nets, monai_transformers
from delineate.networks.monai_nets import (
    UNETR,
    AttentionUnet,
    BasicUNet,
    DynUNet,
    FlexibleUNet,
    MedNeXt,
    SegResNet,
    SwinUNETR,
)

LOSSES = [nn.BCEWithLogitsLoss(), DiceLoss(sigmoid=True), DiceCELoss(sigmoid=True)]
NO_EINOPS = pytest.mark.skipif(not optional_import("einops")[1], reason="MONAI's transformers need einops")


@dataclass(frozen=True)
class Case:
    """One of our classes, and how MONAI's is made the same."""

    network: Any
    parameters: int
    monai: dict[str, Any] = field(default_factory=dict)  # what MONAI has no default, or another one for
    small: dict[str, Any] = field(default_factory=dict)
    other_size: tuple[int, int] = (64, 96)
    unused: str = ""  # names of parameters that MONAI makes and never computes with

    def ours(self, **arguments: Any) -> Any:
        return self.network(**self.small, **arguments)

    def plain(self, **arguments: Any) -> Any:
        channels = {"spatial_dims": 2, "in_channels": 3, "out_channels": 1}
        return getattr(nets, self.network.__name__)(**channels | self.monai | arguments)


LEVELS = {"kernel_size": (3, 3, 3, 3, 3), "strides": (1, 2, 2, 2, 2), "upsample_kernel_size": (2, 2, 2, 2)}
CASES = {
    "BasicUNet": Case(BasicUNet, 1_979_009, small={"features": (4, 4, 8, 8, 16, 4)}, other_size=(47, 61)),
    "AttentionUnet": Case(
        AttentionUnet,
        1_987_705,
        {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)},
        small={"channels": (4, 4, 8, 8, 16)},
        other_size=(48, 80),
    ),
    "SegResNet": Case(SegResNet, 395_121, other_size=(24, 56)),
    "DynUNet": Case(DynUNet, 7_762_561, LEVELS, {"filters": (4, 4, 8, 8, 16)}, (48, 80)),
    "FlexibleUNet-resnet18": Case(FlexibleUNet, 13_545_585, {"backbone": "resnet18"}),
    "FlexibleUNet-efficientnet-b0": Case(
        FlexibleUNet,
        7_060_277,
        {"backbone": "efficientnet-b0"},
        {"backbone": "efficientnet-b0"},
        unused=r"encoder\.(_conv_head|_bn1|_fc)\..+",  # the classifier's last layers
    ),
    "SwinUNETR": Case(SwinUNETR, 6_302_875, small={"feature_size": 12}),
    "UNETR": Case(
        UNETR,
        87_727_345,
        {"img_size": 256},
        {"img_size": 32, "hidden_size": 12, "mlp_dim": 16, "num_heads": 2, "feature_size": 4},
        other_size=(32, 32),
        unused=r"vit\.blocks\.\d+\.norm_cross_attn\..+",  # there is no cross-attention
    ),
    "MedNeXt": Case(
        MedNeXt, 5_472_033, {"kernel_size": 3, "use_residual_connection": True}, {"init_filters": 4}, (48, 80)
    ),
}
CLASSES = {case.network.__name__: case for case in reversed(CASES.values())}


def some(cases: dict[str, Case]) -> pytest.MarkDecorator:
    transformers = (SwinUNETR, UNETR)
    marks = {name: [NO_EINOPS] if case.network in transformers else [] for name, case in cases.items()}
    return pytest.mark.parametrize("case", [pytest.param(case, id=n, marks=marks[n]) for n, case in cases.items()])


each = some(CASES)
each_class = some(CLASSES)
supervised = pytest.mark.parametrize(
    ("network", "arguments", "sides"),
    [
        (DynUNet, {"filters": (4, 4, 8, 8, 16), "deep_supr_num": 3}, [32, 32, 32, 32]),
        (MedNeXt, {"init_filters": 4}, [32, 16, 8, 4, 2]),
    ],
)
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@each
def test_the_number_of_parameters_is_that_of_monais_class(case: Case) -> None:
    with torch.device("meta"):
        ours = case.network(**{k: v for k, v in case.small.items() if k == "backbone"})
    with torch.device("cpu" if case.network is SwinUNETR else "meta"):
        assert count(ours) == count(case.plain()) == case.parameters


@each_class
def test_the_overlay_makes_the_default_network(case: Case) -> None:
    task = {"in_channels": 3, "out_channels": 1, "window": [256, 256]}
    overlay = str(files("delineate.configs") / "networks" / f"monai.{case.network.__name__}.yaml")
    with torch.device("meta"):
        network = ConfigParser(task | ConfigParser.load_config_file(overlay)).get_parsed_content("network_def")
    assert type(network) is case.network
    assert count(network) == case.parameters


@each
@pytest.mark.parametrize(("in_channels", "out_channels"), [(1, 4), (5, 1)])
def test_logits_have_the_size_of_the_image(case: Case, in_channels: int, out_channels: int) -> None:
    net = case.ours(in_channels=in_channels, out_channels=out_channels).eval()
    with torch.no_grad():
        for size in ((net.smallest_size, net.smallest_size), case.other_size):
            assert net(image(1, in_channels, *size)).shape == (1, out_channels, *size)


@each_class
def test_volumes_are_taken_too(case: Case) -> None:
    with torch.device("meta"):
        net = case.ours(spatial_dims=3).eval()
        side = net.smallest_size
        assert net(torch.zeros(1, 3, side, side, side)).shape == (1, 1, side, side, side)


@pytest.mark.parametrize(
    ("name", "size", "valid"),
    [
        ("BasicUNet", (31, 47), [32, 47]),
        ("AttentionUnet", (33, 48), [48, 48]),
        ("SegResNet", (17, 8), [24, 16]),
        ("DynUNet", (16, 33), [32, 48]),
        ("FlexibleUNet", (65, 64), [96, 64]),
        pytest.param("SwinUNETR", (32, 97), [64, 128], marks=NO_EINOPS),
        pytest.param("UNETR", (32, 16), [32, 32], marks=NO_EINOPS),
        pytest.param("UNETR", (64, 32), [32, 32], marks=NO_EINOPS),
        ("MedNeXt", (16, 33), [32, 48]),
    ],
)
def test_a_size_it_cannot_take_is_refused_with_the_next_valid_one(
    name: str, size: tuple[int, int], valid: list[int]
) -> None:
    net = CLASSES[name].ours().eval()
    with pytest.raises(ValueError, match=re.escape(f"image is {list(size)} pixels") + ".*" + re.escape(str(valid))):
        net(image(1, 3, *size))
    with torch.no_grad():
        assert net(image(1, 3, *valid)).shape == (1, 1, *valid)


@NO_EINOPS
def test_the_refusal_of_the_only_size_names_its_argument() -> None:
    with pytest.raises(ValueError, match=r"made with img_size=32; .* another img_size"):
        CLASSES["UNETR"].ours()(image(1, 3, 48, 48))


@each
def test_every_parameter_gets_a_finite_gradient_from_one_smallest_image(case: Case) -> None:
    deep = {"deep_supervision": True} if case.network in (DynUNet, MedNeXt) else {}
    net = case.ours(**deep)
    x = image(1, 3, net.smallest_size, net.smallest_size)
    DeepSupervisionLoss(DiceCELoss(sigmoid=True))(net(x), x[:, :1].round()).backward()
    unused = {n for n, _ in net.named_parameters() if re.fullmatch(case.unused, n)}
    assert {n for n, p in net.named_parameters() if p.grad is None} == unused
    assert [n for n, p in net.named_parameters() if p.grad is not None and not p.grad.isfinite().all()] == []


@each
def test_checkpoints_go_to_monais_class_and_back(case: Case) -> None:
    ours, plain, again = case.ours().eval(), case.plain(**case.small).eval(), case.ours().eval()
    x = image(2, 3, *case.other_size)
    with torch.no_grad():
        plain.load_state_dict(ours.state_dict())
        again.load_state_dict(plain.state_dict())
        torch.testing.assert_close(plain(x), ours(x))
        torch.testing.assert_close(again(x), ours(x))


def test_gradients_pass_the_shortcuts_of_resnet18() -> None:
    block = FlexibleUNet().encoder.layer4[0].eval()
    for parameter in block.parameters():
        parameter.data.zero_()
    x = image(1, 256, 4, 4).requires_grad_()
    block(x).sum().backward()
    assert x.grad is not None
    assert x.grad.any()


@supervised
def test_a_supervised_network_gives_a_list_in_training(
    network: Any, arguments: dict[str, Any], sides: list[int]
) -> None:
    out = network(out_channels=4, deep_supervision=True, **arguments)(image(2, 3, 32, 32))
    assert isinstance(out, list)
    assert [tuple(logits.shape) for logits in out] == [(2, 4, side, side) for side in sides]


@supervised
def test_a_supervised_network_gives_its_finest_logits_otherwise(
    network: Any, arguments: dict[str, Any], sides: list[int]
) -> None:
    net, x = network(deep_supervision=True, **arguments), image(2, 3, 32, 32)
    with torch.no_grad():
        first = net.train()(x)[0]
        torch.testing.assert_close(net.eval()(x), first)
        assert len(net.train()(x)) == len(sides)


@each_loss
def test_the_supervised_loss_of_one_tensor_is_the_loss_itself(loss: nn.Module) -> None:
    logits, label = image(2, 1, 8, 12) - 0.5, image(2, 1, 8, 12).flip(0).round()
    assert torch.equal(DeepSupervisionLoss(loss)(logits, label), loss(logits, label))


@each_loss
def test_coarser_logits_are_compared_with_a_coarser_label(loss: nn.Module) -> None:
    coarse = image(2, 1, 4, 6).flip(0).round()
    label = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    logits = [image(2, 1, 8, 12) - 0.5, image(2, 1, 4, 6) - 0.5]
    expected = loss(logits[0], label) + loss(logits[1], coarse) / 2
    torch.testing.assert_close(DeepSupervisionLoss(loss)(logits, label), expected)


@each
def test_bfloat16_in_channels_last_is_close_to_float32(case: Case) -> None:
    torch.manual_seed(0)
    net, x = case.ours().eval(), image(1, 3, *case.other_size)
    with torch.no_grad():
        expected = net(x)
        net.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last))
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float().sigmoid(), expected.sigmoid(), atol=0.05, rtol=0)


@each
def test_an_exported_network_takes_what_dynamic_export_says(case: Case) -> None:
    net = case.ours(**({"deep_supervision": True} if case.network in (DynUNet, MedNeXt) else {})).eval()
    smallest, step = net.smallest_size, net.divisor
    sizes: dict[int, Any] = {0: Dim("batch", min=1)}
    shape, other = (2, 3, *case.other_size), (1, 3, *case.other_size)
    if net.dynamic_export:
        sizes |= {axis: step * Dim(name, min=smallest // step) for axis, name in ((2, "height"), (3, "width"))}
        shape, other = (2, 3, smallest + step, smallest + 2 * step), (1, 3, smallest, smallest + step)
    exported = torch.export.export(net, (image(*shape),), dynamic_shapes=(sizes,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(image(*other)), net(image(*other)), rtol=1e-4, atol=1e-4)


@each_class
def test_each_network_says_where_it_was_published(case: Case) -> None:
    assert re.search(r"\d{4}, https://doi\.org/10\.\S+$", case.network.reference)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (DynUNet, {"strides": (2, 2, 2, 2, 2)}, "strides begins with 2.* begin with 1"),
        (FlexibleUNet, {"backbone": "resnet-18"}, "did you mean 'resnet18'"),
        pytest.param(UNETR, {"img_size": 100}, "img_size is 100.* multiple of 16", marks=NO_EINOPS),
        pytest.param(UNETR, {"img_size": (64, 32)}, r"img_size is \(64, 32\).* square", marks=NO_EINOPS),
    ],
)
def test_wrong_arguments_are_refused(network: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)


@pytest.mark.parametrize("network", [SwinUNETR, UNETR])
def test_without_einops_a_transformer_says_what_to_install(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monai_transformers, "optional_import", lambda name: (None, False))
    with pytest.raises(ImportError, match=f"{network.__name__} needs einops.* pip install einops"):
        network()


def test_every_class_is_tested() -> None:
    assert set(monai_nets.__all__) == CLASSES.keys()
