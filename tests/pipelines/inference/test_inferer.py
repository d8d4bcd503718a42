from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from delineate.networks import EfficientLiteUNet, UltraLightUNet
from delineate.pipelines.core.errors import InputError
from delineate.pipelines.inference.inferer import PrecisionInferer, fastest_precision

CPU = torch.device("cpu")


class Spy(nn.Module):
    """A network that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        logits: torch.Tensor = self.conv(x)
        return logits


def image(*size: int) -> torch.Tensor:
    return torch.rand((2, 3, *(size or (32, 48))), generator=torch.Generator().manual_seed(0))


def with_capabilities(monkeypatch: pytest.MonkeyPatch, **able: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)


def test_the_network_gets_a_plain_tensor_in_channels_last() -> None:
    spy = Spy()
    PrecisionInferer()(MetaTensor(image()), spy)
    assert type(spy.seen[0]) is torch.Tensor
    assert spy.seen[0].is_contiguous(memory_format=torch.channels_last)
    assert spy.conv.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_logits_are_plain_contiguous_float32(precision: str) -> None:
    logits = PrecisionInferer(precision=precision)(MetaTensor(image()), Spy())
    assert (type(logits), logits.dtype, logits.shape) == (torch.Tensor, torch.float32, (2, 1, 32, 48))
    assert logits.is_contiguous()


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_network_computes_in_the_precision_set(precision: str, dtype: torch.dtype) -> None:
    spy, computed = Spy(), []
    spy.conv.register_forward_hook(lambda *args: computed.append(args[-1].dtype))
    PrecisionInferer(precision=precision)(image(), spy)
    assert computed == [dtype]


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_auto_asks_the_cpu(monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], dtype: torch.dtype) -> None:
    with_capabilities(monkeypatch, **able)
    assert fastest_precision(CPU)[0] is dtype


def test_auto_is_float32_where_torch_cannot_ask_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fastest_precision(CPU)[0] is torch.float32


@pytest.mark.parametrize(("able", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_asks_the_gpu(monkeypatch: pytest.MonkeyPatch, able: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: able)
    assert fastest_precision(torch.device("cuda"))[0] is dtype


def test_other_devices_stay_in_float32() -> None:
    assert fastest_precision(torch.device("mps")) == (torch.float32, "device type mps")


def test_auto_without_the_units_gives_what_float32_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    with_capabilities(monkeypatch)
    spy = Spy()
    assert torch.equal(PrecisionInferer()(image(), spy), PrecisionInferer(precision="float32")(image(), spy))


def test_the_choice_is_logged_once_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_capabilities(monkeypatch)
    spy = Spy()
    with caplog.at_level(logging.INFO, "delineate"):
        for inferer in (PrecisionInferer(), PrecisionInferer()):  # of training and of validation
            for _ in range(3):
                inferer(image(), spy)
    reason = "(a CPU without AVX512-BF16 or AMX)"
    assert caplog.messages == [f"precision of training on cpu: float32 {reason}, channels_last"]


def test_an_unknown_precision_is_answered_with_the_closest() -> None:
    with pytest.raises(ValueError, match="did you mean 'bfloat16'"):
        PrecisionInferer(precision="bfloat")


def test_bfloat16_agrees_with_float32_to_two_hundredths_of_probability() -> None:
    torch.manual_seed(0)
    network = UltraLightUNet(features=(16, 32, 64)).eval()
    with torch.no_grad():
        one, other = (PrecisionInferer(precision=p)(image(), network).sigmoid() for p in ("float32", "bfloat16"))
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, atol=0.02, rtol=0)


def test_float32_agrees_with_the_bare_network() -> None:
    torch.manual_seed(0)
    network = UltraLightUNet(features=(16, 32, 64)).eval()
    with torch.no_grad():
        expected = network(image())
        torch.testing.assert_close(PrecisionInferer(precision="float32")(image(), network), expected)


def test_a_window_slides_over_a_larger_image() -> None:
    spy = Spy()
    with torch.no_grad():
        inferer = PrecisionInferer(SlidingWindowInferer((16, 16), sw_batch_size=4, overlap=0.25), "float32")
        logits = inferer(MetaTensor(image()), spy)
    assert logits.shape == (2, 1, 32, 48)
    assert {tuple(x.shape[2:]) for x in spy.seen} == {(16, 16)}
    assert {type(x) for x in spy.seen} == {torch.Tensor}


def test_gradients_reach_the_network() -> None:
    spy = Spy()
    PrecisionInferer(precision="bfloat16")(image(), spy).square().mean().backward()
    assert spy.conv.weight.grad is not None
    assert spy.conv.weight.grad.isfinite().all()
    assert spy.conv.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("kind", [list, tuple])
def test_each_of_several_logits_comes_back_as_one_alone(kind: type) -> None:
    spy = Spy()

    def supervised(x: torch.Tensor) -> Any:
        return kind((spy(x), spy(x[..., ::2, ::2])))

    several = PrecisionInferer(precision="bfloat16")(MetaTensor(image()), supervised)
    assert isinstance(several, list)
    assert [(type(x), x.dtype, tuple(x.shape[2:])) for x in several] == [
        (torch.Tensor, torch.float32, (32, 48)),
        (torch.Tensor, torch.float32, (16, 24)),
    ]
    assert all(x.is_contiguous() for x in several)


def test_each_network_is_laid_out() -> None:
    inferer, spies = PrecisionInferer(), [Spy(), Spy()]
    for spy in spies:
        inferer(image(), spy)
    assert all(spy.conv.weight.is_contiguous(memory_format=torch.channels_last) for spy in spies)


def test_a_plain_function_and_a_volume_are_taken_too() -> None:
    def double(x: torch.Tensor, *_: Any) -> torch.Tensor:
        return 2 * x

    volume = torch.ones(1, 1, 2, 3, 4)
    assert torch.equal(PrecisionInferer()(volume, double), 2 * volume)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return UltraLightUNet(features=(4, 8, 16)).eval()


def infer(inferer: PrecisionInferer, net: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = inferer(image(), net)
    return logits


def test_weights_cast_once_give_what_autocast_gives() -> None:
    net, inferer = small_net(), PrecisionInferer(precision="bfloat16")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = net(image().contiguous(memory_format=torch.channels_last)).float()
    assert torch.equal(infer(inferer, net), expected)


def test_weights_that_change_are_cast_anew() -> None:
    net, inferer = small_net(), PrecisionInferer(precision="bfloat16")
    before = infer(inferer, net)
    with torch.no_grad():
        next(net.parameters()).mul_(3)
    after = infer(inferer, net)
    assert not torch.equal(after, before)
    assert torch.equal(after, infer(PrecisionInferer(precision="bfloat16"), net))


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_keeps_its_own_weights(fails: bool) -> None:
    net = small_net()
    own = {name: (id(p), p.dtype) for name, p in net.named_parameters()}
    if fails:
        net.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            infer(PrecisionInferer(precision="bfloat16"), net)
    else:
        infer(PrecisionInferer(precision="bfloat16"), net)
    assert {name: (id(p), p.dtype) for name, p in net.named_parameters()} == own


def test_weights_made_in_inference_mode_are_taken_too() -> None:
    with torch.inference_mode():
        net = small_net()
        logits = PrecisionInferer(precision="bfloat16")(image(), net)
    assert torch.equal(logits, infer(PrecisionInferer(precision="bfloat16"), small_net()))


def test_threads_that_share_a_network_leave_it_its_weights() -> None:
    net, inferer = small_net(), PrecisionInferer(precision="bfloat16")
    expected = infer(inferer, net)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: infer(inferer, net), range(16)))
    assert all(torch.equal(result, expected) for result in results)
    assert {p.dtype for p in net.parameters()} == {torch.float32}


@pytest.mark.parametrize("shared", [False, True])
def test_threads_do_not_wait_for_each_other(shared: bool) -> None:
    both = Barrier(2, timeout=20)  # nobody passes it alone

    def meet(*_: object) -> None:
        both.wait()

    networks = [small_net()] * 2 if shared else [small_net(), small_net()]
    for net in set(networks):
        net.register_forward_pre_hook(meet)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda net: infer(PrecisionInferer(precision="bfloat16"), net), networks))


def test_threads_may_use_a_network_and_a_larger_one_that_it_is_part_of() -> None:
    part = small_net()
    whole = nn.Sequential(part, nn.Conv2d(1, 1, 3, padding=1)).eval()
    expected = [infer(PrecisionInferer(precision="bfloat16"), net) for net in (part, whole)]
    with ThreadPoolExecutor(4) as pool:
        inferers = [PrecisionInferer(precision="bfloat16") for _ in range(2)]
        results = list(pool.map(lambda n: infer(inferers[n % 2], (part, whole)[n % 2]), range(16)))
    assert all(torch.equal(result, expected[n % 2]) for n, result in enumerate(results))
    assert {p.dtype for p in whole.parameters()} == {torch.float32}


def test_a_weight_that_is_computed_from_others_is_left_to_autocast() -> None:
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 1, 3, padding=1))).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = net(image().contiguous(memory_format=torch.channels_last)).float()
    assert torch.equal(infer(PrecisionInferer(precision="bfloat16"), net), expected)


def test_inference_in_float32_casts_nothing() -> None:
    net, inferer = Spy().eval(), PrecisionInferer(precision="float32")
    seen: list[torch.dtype] = []
    net.conv.register_forward_pre_hook(lambda conv, _: seen.append(conv.weight.dtype))
    infer(inferer, net)
    assert seen == [torch.float32]


# --- logits that are none ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_refused_by_the_name_of_the_image(value: float) -> None:
    network = Spy().eval()
    network.conv.register_forward_hook(lambda *args: args[-1].index_fill(3, torch.tensor([1]), value))
    picture = MetaTensor(image(), meta={"filename_or_obj": ["a.png", "b.png"]})
    with torch.no_grad(), pytest.raises(InputError, match=r"a\.png, b\.png: the network answers with NaN"):
        PrecisionInferer()(picture, network)


def computed_in(network: Spy, inferer: PrecisionInferer) -> torch.dtype:
    with_hook = network.conv.register_forward_hook(lambda *args: computed.append(args[-1].dtype))
    computed: list[torch.dtype] = []
    inferer(image(), network)
    with_hook.remove()
    return computed[0]


def test_a_network_that_learns_faster_in_float32_does_so_on_a_cpu_and_answers_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_capabilities(monkeypatch, amx_bf16=True)
    inferer, network = PrecisionInferer(), Spy()
    network.trained_on_cpu_in = "float32"
    with caplog.at_level(logging.INFO, "delineate"):
        learned = computed_in(network, inferer)
        with torch.no_grad():
            answered = computed_in(network, inferer)
        assert computed_in(network, inferer) is learned  # one does not decide for the other
    assert (learned, answered) == (torch.float32, torch.bfloat16)
    assert inferer.learned_in == ["float32"]
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        "precision of training on cpu: float32",
        "precision of inference on cpu: bfloat16",
    ]


def test_what_is_set_holds_for_learning_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with_capabilities(monkeypatch)
    network = Spy()
    network.trained_on_cpu_in = "float32"
    assert computed_in(network, PrecisionInferer(precision="bfloat16")) is torch.bfloat16


def test_on_a_gpu_all_networks_learn_in_what_it_is_fastest_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert fastest_precision(torch.device("cuda"), EfficientLiteUNet())[0] is torch.bfloat16


def test_the_light_network_learns_in_float32_on_any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_capabilities(monkeypatch, amx_bf16=True)
    assert fastest_precision(CPU, EfficientLiteUNet())[0] is torch.float32
    assert fastest_precision(CPU, UltraLightUNet())[0] is torch.bfloat16
