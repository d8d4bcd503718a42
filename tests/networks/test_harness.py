"""What every network must do, tried on each that is listed: a new one needs but its number in ``PARAMETERS``.

A network is tried with its default arguments, unless ``SMALL`` has others; a small one keeps this quick.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backends import onnx_operators as onnx_operators
from monai.bundle import ConfigParser
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from delineate.networks import create_network, list_networks
from delineate.networks.graphs import graph_axes, out_of_place
from delineate.networks.registry import network_class
from delineate.networks.sizes import next_size
from delineate.pipelines.phantoms.images import phantom

CONFIGS = Path(__file__).parents[2] / "configs"
PARAMETERS = {  # of the default arguments, 3 channels in, 1 out
    "unet": 31_037_633,
    "depthwise_unet": 5_988_252,
    "se_unet": 31_255_745,
    "se_depthwise_unet": 6_206_364,
    "spatial_attention_unet": 6_206_756,
    "ultra_light_unet": 239_676,
    "classic_unet": 31_031_745,
    "deeplabv3plus": 12_333_233,
    "tiny_unet": 481_105,
    "cmunext": 3_149_185,
    "efficient_lite_unet": 2_495_537,
    "monai.BasicUNet": 1_979_009,
    "monai.AttentionUnet": 1_987_705,
    "monai.SegResNet": 395_121,
    "monai.DynUNet": 7_762_561,
    "monai.FlexibleUNet": 13_545_585,
    "monai.SwinUNETR": 6_302_875,
    "monai.UNETR": 87_727_345,
    "monai.MedNeXt": 5_472_033,
}
LEVELS = {"features": (16, 16, 32)}  # a top, a middle and a bottom: one more is a middle again
SE_LEVELS = {**LEVELS, "reduction": 2}
SMALL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("unet", "depthwise_unet", "ultra_light_unet"), LEVELS),
    **dict.fromkeys(("se_unet", "se_depthwise_unet", "spatial_attention_unet"), SE_LEVELS),
    "classic_unet": {"features": (16, 16, 32)},
    "tiny_unet": {"features": (12, 24), "cascade": 2},
    "cmunext": {"features": (8, 8, 16), "depths": (1, 1, 1), "kernel_sizes": (3, 3, 5)},
    "monai.BasicUNet": {"features": (8, 8, 16, 16, 16, 8)},
    "monai.AttentionUnet": {"channels": (8, 16, 32), "strides": (2, 2)},
    "monai.SegResNet": {"blocks_down": (1, 1), "blocks_up": (1,)},
    "monai.DynUNet": {"kernel_size": (3, 3, 3), "strides": (1, 2, 2), "filters": (8, 8, 16)},
    "monai.FlexibleUNet": {"backbone": "resnet10", "decoder_channels": (32, 32, 16, 16, 8)},
    "monai.SwinUNETR": {"feature_size": 12, "num_heads": (1, 1, 2, 2), "depths": (1, 1, 1, 1), "window_size": 4},
    "monai.UNETR": {"img_size": 64, "feature_size": 8, "hidden_size": 48, "mlp_dim": 64, "num_heads": 2},
    "efficient_lite_unet": {"decoder_channels": (32, 16, 16, 8)},
    # with fewer filters oneDNN writes past its memory: https://github.com/uxlfoundation/oneDNN/issues/6035
    "monai.MedNeXt": {"init_filters": 16, "blocks_down": (1, 1), "blocks_up": (1, 1), "blocks_bottleneck": 1},
}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {  # all networks, and arguments that lead another way through some
    **{name: (name, {}) for name in list_networks()},
    "unet, bilinear": ("unet", {"upsample": "nontrainable"}),
    "ultra_light_unet, bilinear": ("ultra_light_unet", {"upsample": "nontrainable"}),
    "classic_unet, mirrored": ("classic_unet", {"mirror": True}),
    "monai.DynUNet, supervised": ("monai.DynUNet", {"deep_supervision": True}),
    "monai.MedNeXt, supervised": ("monai.MedNeXt", {"deep_supervision": True}),
}
IN_OTHERS = (  # their operators are in other forms, too
    "se_depthwise_unet",
    "ultra_light_unet, bilinear",
    "classic_unet",
    "efficient_lite_unet",  # tests/pipelines/inference/backends/test_shipped.py has it, with the shipped weights
)
UNUSED = "norm_cross_attn"  # MONAI's transformer blocks have it, and a use for it in cross-attention alone
NOISE = "attention.psi.0.conv.bias"  # a norm takes it away again: its gradient is what rounding leaves, which may be 0

SAME = 1e-4  # of logits of about -3 to 3, in float32: kernels and exporters add in another order
SAME_LAST = 2e-3  # with channels last torch's group norm takes variances as differences of large sums; else 1e-5
MOST_STEPS = 200

each_network = pytest.mark.parametrize("name", list_networks())
each_form = pytest.mark.parametrize("form", list(FORMS))


def make(name: str, **arguments: Any) -> nn.Module:
    """Fresh, from one seed."""
    torch.manual_seed(0)
    try:
        return create_network(name, **arguments)
    except ImportError as missing:  # some of MONAI's networks need more than MONAI
        pytest.skip(str(missing))


def small(form: str, **arguments: Any) -> nn.Module:
    name, changes = FORMS[form]
    return make(name, **{**SMALL.get(name, {}), **changes, **arguments})


def one_size(network: nn.Module) -> bool:
    return network.divisor == sys.maxsize


def sides(network: nn.Module, height: int = 33, width: int = 47) -> tuple[int, int]:
    """The next valid size, no square unless the network takes but one size."""
    high, wide = (next_size(n, network.smallest_size, network.divisor) for n in (height, width))
    return high, wide + network.divisor if high == wide and not one_size(network) else wide


def margin(network: nn.Module) -> int:
    """Pixels by which the logits are smaller than the image."""
    return 0 if getattr(network, "mirror", False) else getattr(network, "margin", 0)


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def lesions(size: tuple[int, int], seeds: tuple[int, ...] = (2, 7)) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, 3, H, W) and masks (B, 1, H, W)."""
    images, masks = zip(*(phantom(seed, size) for seed in seeds), strict=True)
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return x.contiguous(), torch.from_numpy(np.stack(masks))[:, None].float()


def lessons(network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images, and their masks where the network has logits."""
    side = next_size(64 + margin(network), network.smallest_size, network.divisor)
    x, masks = lesions((side, side))
    cut = margin(network) // 2
    return x, masks[..., cut : side - cut, cut : side - cut]


def in_training(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Logits, those of the full resolution first."""
    logits = network(x)
    return logits if isinstance(logits, list) else [logits]


def dice(logits: torch.Tensor, masks: torch.Tensor) -> float:
    found = logits > 0
    return float(2 * (found * masks).sum() / (found.sum() + masks.sum()))


@cache
def learn(form: str) -> tuple[dict[str, torch.Tensor], float]:
    """Weights after two images were learnt by heart, and the best Dice on the way."""
    network = small(form).train()
    x, masks = lessons(network)
    optimizer, best = torch.optim.Adam(network.parameters(), 3e-3), 0.0
    for _ in range(MOST_STEPS):
        logits = in_training(network, x)
        best = max(best, dice(logits[0], masks))
        if best > 0.95:
            break
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(logits[0], masks).backward()
        optimizer.step()
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 1.0  # few steps leave its averages half way
    network(x)
    return network.state_dict(), best


def learnt(form: str) -> nn.Module:
    """In evaluation; a fresh network's logits are hardly more than its last bias, and everything agrees with them."""
    network = small(form)
    network.load_state_dict(learn(form)[0])
    return network.eval()


def assert_same(logits: torch.Tensor, expected: torch.Tensor, tolerance: float = SAME) -> None:
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)


@each_network
def test_the_number_of_parameters_is_pinned(name: str) -> None:
    with torch.device("meta"):
        network = make(name)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS.get(name)


def from_overlay(name: str, in_channels: int, out_channels: int) -> Any:
    """On no device, in a task of so many channels."""
    parser = ConfigParser(ConfigParser.load_config_file(CONFIGS / "tasks" / "skin_lesion" / "parameters.yaml"))
    parser.update({"in_channels": in_channels, "out_channels": out_channels, "image_size": [256, 256]})
    parser.update(ConfigParser.load_config_file(CONFIGS / "networks" / f"{name}.yaml"))
    with torch.device("meta"):
        make(name)  # skips where a package is missing
        return parser.get_parsed_content("network_def").eval()


@each_network
def test_the_overlay_makes_the_network_that_is_pinned(name: str) -> None:
    network = from_overlay(name, 3, 1)
    assert type(network) is network_class(name)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


@each_network
def test_the_overlay_takes_the_channels_of_the_task(name: str) -> None:
    network = from_overlay(name, 5, 4)
    logits = network(torch.zeros(1, 5, *sides(network, 256, 256), device="meta"))
    assert logits.shape[1] == 4


@each_form
def test_the_target_of_the_overlay_takes_other_arguments(form: str) -> None:
    name, changes = FORMS[form]
    overlay = ConfigParser.load_config_file(CONFIGS / "networks" / f"{name}.yaml")
    network, target = small(form), overlay["network_def"]["_target_"]
    parsed = ConfigParser({"net": {"_target_": target, **SMALL.get(name, {}), **changes}}).get_parsed_content("net")
    assert type(parsed) is type(network)
    parsed.load_state_dict(network.state_dict())


@each_network
def test_where_it_was_published_is_given(name: str) -> None:
    assert re.search(r" \d{4}, https://\S+$", network_class(name).reference)


@each_form
@pytest.mark.parametrize(
    ("batch", "in_channels", "out_channels", "size"), [(1, 3, 1, (33, 47)), (3, 1, 4, (47, 32)), (1, 5, 1, (61, 64))]
)
def test_logits_have_the_size_of_the_image(
    form: str, batch: int, in_channels: int, out_channels: int, size: tuple[int, int]
) -> None:
    network = small(form, in_channels=in_channels, out_channels=out_channels).eval()
    height, width = sides(network, *size)
    with torch.no_grad():
        logits = network(image(batch, in_channels, height, width))
    assert logits.shape == (batch, out_channels, height - margin(network), width - margin(network))


def wrong_sides(network: nn.Module) -> Iterator[tuple[int, int]]:
    """Each with the next valid one."""
    smallest, divisor = network.smallest_size, network.divisor
    if smallest > 1:
        yield smallest - 1, smallest
    if divisor > 1:
        yield smallest + 1, smallest if one_size(network) else smallest + divisor


@each_form
def test_an_invalid_size_is_refused_with_the_next_valid_one(form: str) -> None:
    network = small(form).eval()
    wrong = list(wrong_sides(network))
    if not wrong:
        pytest.skip("it takes every size")
    for side, valid in wrong:
        with pytest.raises(ValueError, match=rf"\[{side}, {network.smallest_size}\] pixels") as refused:
            network(image(1, 3, side, network.smallest_size))
        named = re.findall(r"\[(\d+), (\d+)\]", str(refused.value))[-1]
        assert named == (str(valid), str(network.smallest_size))
        with torch.no_grad():
            assert network(image(1, 3, *map(int, named))).isfinite().all()


@each_form
@pytest.mark.parametrize("batch", [1, 2])
def test_every_parameter_gets_a_finite_gradient(form: str, batch: int) -> None:
    network = small(form).train()
    logits = in_training(network, image(batch, 3, *sides(network, 64, 64)))
    sum(each.square().mean() for each in logits).backward()
    used = {name: p.grad for name, p in network.named_parameters() if UNUSED not in name}
    assert [name for name, grad in used.items() if grad is None or not grad.isfinite().all()] == []
    assert [name for name, grad in used.items() if not grad.any() and not name.endswith(NOISE)] == []


@each_form
def test_two_images_are_learnt_by_heart(form: str) -> None:
    assert learn(form)[1] > 0.95


@each_form
def test_a_state_dict_makes_another_network_the_same(form: str) -> None:
    network, other, file = learnt(form), small(form).eval(), io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    x, _ = lesions(sides(network))
    with torch.no_grad():
        assert not torch.equal(other(x), network(x))
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(x), network(x))


@each_form
def test_channels_last_gives_the_same_logits(form: str) -> None:
    network = learnt(form)
    x, _ = lesions(sides(network))
    with torch.no_grad():
        expected = network(x)
        logits = network.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert_same(logits, expected, SAME_LAST)


@each_form
def test_bfloat16_gives_nearly_the_same_masks(form: str) -> None:
    """8 bits of mantissa err by up to 0.4 %, once a layer: 0.005 in the mean and 0.06 at one pixel were seen."""
    network = learnt(form)
    x, _ = lessons(network)
    with torch.no_grad():
        expected = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(x).float()
    assert (logits.sigmoid() - expected.sigmoid()).abs().mean() < 0.01
    assert dice(logits, (expected > 0).float()) > 0.98


def export(network: nn.Module, x: torch.Tensor, **options: Any) -> torch.export.ExportedProgram:
    """As `delineate export` does."""
    with out_of_place(network):
        return torch.export.export(network, (x,), **options)


@cache
def exported(form: str) -> torch.export.ExportedProgram:
    network = learnt(form)
    axes = graph_axes(network, sides(network))
    return export(network, image(2, 3, *axes.drawn), dynamic_shapes=(axes.dynamic,))


@pytest.mark.slow
@each_form
def test_one_exported_graph_takes_every_batch_and_size(form: str) -> None:
    network = learnt(form)
    x, _ = lesions(graph_axes(network, sides(network)).tried, seeds=(2, 5, 7))
    with torch.no_grad():
        assert_same(exported(form).module()(x), network(x))


ANY_SIZE_IN_ONNX = {"unet", "unet, bilinear", "cmunext", "tiny_unet", "ultra_light_unet", "classic_unet, mirrored"}
"""One of each way to go down, up and over a border."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning")  # torch's exporter calls torch so
@pytest.mark.usefixtures("onnx_operators")
@pytest.mark.parametrize("form", [f for f in FORMS if not (f.endswith("supervised") or f in IN_OTHERS)])
def test_onnx_runtime_gives_the_same_logits(form: str) -> None:
    """At any size where the network is ours; of one size elsewhere, which takes a third of the time to export.

    `delineate export` compares each file that it writes at two sizes, whosever the network is.
    """
    onnxruntime = pytest.importorskip("onnxruntime")
    network = learnt(form)
    axes = graph_axes(network, sides(network))
    size = axes.tried if form in ANY_SIZE_IN_ONNX else axes.drawn
    x, _ = lesions(size, seeds=(2,))
    graph = exported(form) if form in ANY_SIZE_IN_ONNX else export(network, x)
    program = torch.onnx.export(graph, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        assert_same(torch.from_numpy(logits), network(x))
