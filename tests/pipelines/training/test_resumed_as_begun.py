"""A run goes on as it began where the ImageNet weights were installed, or removed, since."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from delineate.networks import EfficientLiteUNet
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.phantoms.images import write_phantoms
from delineate.pipelines.training import pretrained
from delineate.pipelines.training.pretrained import pretrained_with, with_pretrained
from delineate.pipelines.training.states import began_with, save_last
from delineate.pipelines.training.workflow import train

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of every bundle that is run

SMALL = {"image_size": [32, 32], "max_epochs": 2, "batch_size": 4, "precision": "float32"}


def install(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    """Have the ImageNet weights, or rather such as a test can tell, or have none."""

    def halve(encoder: nn.Module) -> str:
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter *= 0.5
        return "of a test"

    monkeypatch.setattr(pretrained, "has_imagenet", lambda variant: installed)
    monkeypatch.setattr(pretrained, "load_imagenet", halve)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value, key=str) for leaf in (key, *leaves(value[key]))]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list | tuple) else [value]


def assert_same_state(one: Path, other: Path) -> None:
    first, second = (torch.load(run / "checkpoints" / "last.pt", weights_only=True) for run in (one, other))
    for state in (first, second):
        state.pop("history")  # which has seconds
    for a, b in zip(leaves(first), leaves(second), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("at_first", [False, True])
def test_a_run_goes_on_as_it_began_to_the_bit(
    tmp_path: Path, at_first: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_phantoms(tmp_path / "dataset", 12)
    index_dataset(tmp_path / "dataset", out=tmp_path / "dataset")
    install(monkeypatch, at_first)
    run = train("skin_lesion", tmp_path / "dataset", tmp_path / "run", settings=SMALL)
    assert began_with(run / "checkpoints") == ("ImageNet, lite0, sha256 of a test" if at_first else "")
    stopped, extended, crossed = (tmp_path / name for name in ("stopped", "extended", "crossed"))
    for copy in (stopped, extended, crossed):
        shutil.copytree(run, copy)
    more = {"max_epochs": 3}
    train("skin_lesion", tmp_path / "dataset", extended, resume=True, settings=more)

    install(monkeypatch, not at_first)
    caplog.clear()
    with caplog.at_level(logging.INFO, "delineate"):
        train("skin_lesion", tmp_path / "dataset", crossed, resume=True, settings=more)
        (stopped / "checkpoints" / "last.pt").unlink()
        train("skin_lesion", tmp_path / "dataset", stopped, resume=True)
    assert_same_state(extended, crossed)
    assert_same_state(run, stopped)
    assert "ImageNet" not in caplog.text


def test_a_run_without_a_state_begins_with_what_is_there_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, True)
    assert began_with(tmp_path) is None
    assert pretrained_with(with_pretrained(EfficientLiteUNet(), "imagenet", tmp_path)) == (
        "ImageNet, lite0, sha256 of a test"
    )


@pytest.mark.parametrize(("groups", "pretrained_before"), [(1, False), (2, True)])
def test_a_state_of_before_it_was_noted_says_it_by_its_groups(
    tmp_path: Path, groups: int, pretrained_before: bool
) -> None:
    optimizer = torch.optim.AdamW([{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(groups)])
    save_last({"optimizer": optimizer.state_dict(), "epoch": 1}, tmp_path)
    assert bool(began_with(tmp_path)) is pretrained_before


def test_a_damaged_last_state_leaves_it_to_the_one_before(tmp_path: Path) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    for _ in range(2):
        save_last({"optimizer": optimizer.state_dict(), "pretrained": "a source"}, tmp_path)
    (tmp_path / "last.pt").write_bytes(b"half a st")
    assert began_with(tmp_path) == "a source"
    (tmp_path / "previous.pt").write_text(json.dumps({}))
    assert began_with(tmp_path) is None
