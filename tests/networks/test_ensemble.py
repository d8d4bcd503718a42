"""The mean of probabilities, whatever the networks are."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from delineate.errors import WrongValueError
from delineate.networks import Ensemble, TinyUNet, UltraLightUNet
from delineate.networks.ensemble import mean_of_probabilities
from delineate.networks.graphs import graph_axes
from delineate.networks.monai import SegResNet

LOGITS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=7)


def small_members(out_channels: int = 1) -> list[nn.Module]:
    """Two architectures."""
    return [
        UltraLightUNet(in_channels=1, out_channels=out_channels, features=(8, 8, 16)),
        TinyUNet(in_channels=1, out_channels=out_channels, features=(8, 16), cascade=1),
        nn.Conv2d(1, out_channels, 3, padding=1),
    ]


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


class Sized(nn.Module):
    """What a network says of the sizes it takes."""

    def __init__(self, smallest_size: int, divisor: int) -> None:
        super().__init__()
        self.smallest_size, self.divisor = smallest_size, divisor


class Sure(nn.Module):
    """A network whose logits are far from 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.5) * 2000


@given(LOGITS)
@settings(deadline=None, max_examples=60)
def test_the_sigmoid_of_the_logits_is_the_mean_of_the_sigmoids(logits: list[float]) -> None:
    found = mean_of_probabilities([torch.tensor([[[[each]]]]) for each in logits]).double().sigmoid()
    expected = torch.tensor(logits, dtype=torch.float64).sigmoid().mean()
    torch.testing.assert_close(found.squeeze(), expected, rtol=1e-5, atol=1e-7)


@given(LOGITS)
@settings(deadline=None, max_examples=60)
def test_the_softmax_of_the_logits_is_the_mean_of_the_softmaxes(logits: list[float]) -> None:
    each = [torch.tensor([place / 7, value, -value]).reshape(1, 3, 1, 1) for place, value in enumerate(logits)]
    expected = torch.stack([one.double().softmax(1) for one in each]).mean(0)
    torch.testing.assert_close(mean_of_probabilities(each, True).double().softmax(1), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exclusive", [False, True])
def test_networks_that_are_sure_lose_nothing(exclusive: bool) -> None:
    logits = torch.tensor([[[[2000.0]], [[-2000.0]]]])
    found = mean_of_probabilities([logits, logits, logits], exclusive)
    torch.testing.assert_close(found[:, 0] - found[:, 1], torch.full((1, 1, 1), 4000.0))


@pytest.mark.parametrize("exclusive", [False, True])
def test_of_four_pairs_may_change_places_to_the_bit(exclusive: bool) -> None:
    one, two, three, four = image(4, 1, 2, 50, 60).mul(40).sub(20)
    first = mean_of_probabilities([one, two, three, four], exclusive)
    for others in ([two, one, four, three], [three, four, one, two], [four, three, two, one]):
        assert torch.equal(mean_of_probabilities(others, exclusive), first)


@pytest.mark.parametrize(("exclusive", "channels"), [(False, 1), (False, 3), (True, 3)])
def test_an_ensemble_gives_the_mean_of_its_members(exclusive: bool, channels: int) -> None:
    ensemble, x = Ensemble(small_members(channels), exclusive).eval(), image(2, 1, 32, 48)

    def probabilities(logits: torch.Tensor) -> torch.Tensor:
        return logits.double().softmax(1) if exclusive else logits.double().sigmoid()

    with torch.no_grad():
        expected = torch.stack([probabilities(member(x)) for member in ensemble.members]).mean(0)
        torch.testing.assert_close(probabilities(ensemble(x)), expected, rtol=1e-5, atol=1e-6)


def test_one_member_is_that_network_to_the_bit() -> None:
    network, x = small_members()[0].eval(), image(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(Ensemble([network])(x), network(x))


def test_members_in_bfloat16_are_put_together_in_float32() -> None:
    ensemble, x = Ensemble(small_members()).eval(), image(1, 1, 32, 48)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = ensemble(x)
        each = [member(x) for member in ensemble.members]
    assert {logits.dtype for logits in each} == {torch.bfloat16}
    assert found.dtype == torch.float32
    expected = torch.stack([logits.double().sigmoid() for logits in each]).mean(0)
    torch.testing.assert_close(found.double().sigmoid(), expected, rtol=1e-5, atol=1e-6)


def test_a_size_that_one_member_refuses_is_refused_by_its_name() -> None:
    ensemble = Ensemble([small_members()[0], SegResNet(in_channels=1)])
    message = "image is [36, 32] pixels, member 2 (SegResNet) needs 16 plus a multiple of 8 a side; resize or pad it to"
    with pytest.raises(WrongValueError, match=re.escape(message)):
        ensemble(image(1, 1, 36, 32))


@pytest.mark.parametrize(
    ("sizes", "shared"),
    [
        ([(16, 8), (32, 16), (4, 1)], (32, 16)),
        ([(188, 16), (4, 6)], (220, 48)),
        ([(96, sys.maxsize), (32, 16), (96, sys.maxsize)], (96, sys.maxsize)),
        ([(5, 1)], (5, 1)),
    ],
)
def test_its_sizes_are_those_that_all_members_take(sizes: list[tuple[int, int]], shared: tuple[int, int]) -> None:
    ensemble = Ensemble([Sized(*size) for size in sizes])
    assert (ensemble.smallest_size, ensemble.divisor) == shared


@pytest.mark.parametrize("sizes", [[(32, sys.maxsize), (48, sys.maxsize)], [(16, 16), (17, 8)]])
def test_members_without_a_size_in_common_are_refused(sizes: list[tuple[int, int]]) -> None:
    with pytest.raises(WrongValueError, match=r"member 2 \(Sized\) takes .* those before it .* leave it out"):
        Ensemble([Sized(*size) for size in sizes])


def test_members_of_other_channels_are_refused() -> None:
    members = [nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 1)]  # which torch would broadcast
    with pytest.raises(WrongValueError, match=r"member 2 \(Conv2d\) gives 2 channels, member 1 \(Conv2d\) 1"):
        Ensemble(members)(image(1, 1, 4, 4))


def test_no_member_is_refused() -> None:
    with pytest.raises(WrongValueError, match="one or more"):
        Ensemble([])


def test_torchscript_gives_the_same_logits() -> None:
    ensemble, x = Ensemble(small_members()).eval(), image(2, 1, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(ensemble)(x), ensemble(x))


def test_torch_export_gives_the_same_logits_at_another_size() -> None:
    ensemble, x = Ensemble([small_members()[0], small_members()[2], Sure()]).eval(), image(1, 1, 47, 61)
    axes = graph_axes(ensemble, (32, 32))
    program = torch.export.export(ensemble, (image(2, 1, *axes.drawn),), dynamic_shapes=(axes.dynamic,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), ensemble(x))


@pytest.mark.filterwarnings("ignore")  # of torch's exporter
def test_onnx_runtime_gives_the_same_logits_even_where_all_members_are_sure() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    ensemble, x = Ensemble([Sure(), Sure()]).eval(), image(1, 1, 8, 8)
    program = torch.onnx.export(torch.export.export(ensemble, (x,)), dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(found, ensemble(x).numpy(), rtol=1e-5, atol=1e-4)
    assert np.abs(found).max() > 500
