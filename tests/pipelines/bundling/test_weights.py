from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from delineate.pipelines.bundling.weights import load_weights
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.sums import write_sums


def network(seed: int = 0, features: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, features, 3), nn.BatchNorm2d(features))


def put(bundle: Path, weights: object, *, sums: bool = True) -> Path:
    models = bundle / "models"
    models.mkdir()
    torch.save(weights, models / "model.pt")
    if sums:
        write_sums(models, ["model.pt"])
    return models / "model.pt"


def test_weights_are_those_that_were_saved(tmp_path: Path) -> None:
    saved = network(1)
    put(tmp_path, saved.state_dict())
    loaded = load_weights(network(2), tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))


def test_the_network_is_ready_to_predict(tmp_path: Path) -> None:
    put(tmp_path, network().state_dict())
    given = network().train()
    assert load_weights(given, tmp_path) is given
    assert not given.training


def test_a_bundle_without_weights_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"has no weights .*train it with 'delineate train"):
        load_weights(network(), tmp_path)


def test_weights_changed_after_listing_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path, network(1).state_dict())
    torch.save(network(2).state_dict(), path)
    with pytest.raises(DelineateError, match=r"model\.pt has another SHA-256 than listed; restore the file") as refused:
        load_weights(network(), tmp_path)
    assert str(refused.value).count("restore") == 1


def test_a_device_that_is_not_there_is_not_taken_for_a_broken_file(tmp_path: Path) -> None:
    put(tmp_path, network().state_dict())
    with pytest.raises(DelineateError, match="there is no such device here"):
        load_weights(network(), tmp_path, "cuda:99")


def test_weights_without_a_list_are_loaded_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, network().state_dict(), sums=False)
    with caplog.at_level(logging.WARNING, "delineate"):
        load_weights(network(), tmp_path)
    assert "no SHA256SUMS beside it" in caplog.text


@pytest.mark.parametrize("weights", [network(features=8).state_dict(), {"epoch": 3}, nn.Linear(2, 1).state_dict()])
def test_weights_of_another_network_are_refused(tmp_path: Path, weights: object) -> None:
    put(tmp_path, weights)
    with pytest.raises(DelineateError, match="another network than network_def"):
        load_weights(network(), tmp_path)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("harmed"),)  # type: ignore[return-value]


def test_code_in_weights_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, {"a": Harmful()})
    with pytest.raises(DelineateError, match=r"model\.pt .*no state dict"):
        load_weights(network(), tmp_path)
    assert not Path("harmed").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps([1, 2], protocol=2), b"PK\x03\x04 cut off"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, {}).write_bytes(content)
    write_sums(tmp_path / "models", ["model.pt"])
    with pytest.raises(DelineateError, match=r"model\.pt .*no state dict"):
        load_weights(network(), tmp_path)


@pytest.mark.parametrize("weights", [[1, 2], torch.zeros(3), "text"])
def test_something_else_than_a_state_dict_is_refused(tmp_path: Path, weights: object) -> None:
    put(tmp_path, weights)
    with pytest.raises(DelineateError, match=r"model\.pt .*no state dict"):
        load_weights(network(), tmp_path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    state = network().state_dict()
    state["0.bias"][0] = value
    put(tmp_path, state)
    with pytest.raises(DelineateError, match=r"1 of 7 tensors are not finite \(0\.bias"):
        load_weights(network(), tmp_path)
