from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss
from monai.networks import nets
from monai.utils import optional_import
from torch import nn

from delineate.networks import monai as monai_networks
from delineate.networks.monai import (
    UNETR,
    AttentionUnet,
    BasicUNet,
    DynUNet,
    FlexibleUNet,
    MedNeXt,
    SegResNet,
    SwinUNETR,
)
from delineate.networks.monai import transformers as monai_transformers

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
    ),
    "SwinUNETR": Case(SwinUNETR, 6_302_875, small={"feature_size": 12}),
    "UNETR": Case(
        UNETR,
        87_727_345,
        {"img_size": 256},
        {"img_size": 32, "hidden_size": 12, "mlp_dim": 16, "num_heads": 2, "feature_size": 4},
        other_size=(32, 32),
    ),
    "MedNeXt": Case(
        MedNeXt, 5_472_033, {"kernel_size": 3, "use_residual_connection": True}, {"init_filters": 16}, (48, 80)
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
        (MedNeXt, {"init_filters": 16}, [32, 16, 8, 4, 2]),
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
    assert set(monai_networks.__all__) == CLASSES.keys()
