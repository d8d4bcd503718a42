from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_training import Build, Training

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.sums import check_sums


def from_epoch(training: Training, epoch: int, what: str) -> None:
    """Let the loss, or a weight, be NaN from ``epoch`` on."""

    def spoil(_module: torch.nn.Module, _input: object, loss: torch.Tensor) -> torch.Tensor:
        state = training.trainer.state
        if state.epoch < epoch or (what == "weights" and state.iteration % 2):  # of two iterations an epoch
            return loss
        if what == "weights":
            training.network.weight.data[0, 0, 0, 0] = torch.inf
            return loss
        return loss * torch.nan

    training.trainer.loss_function.register_forward_hook(spoil)


@pytest.mark.parametrize(("what", "seen"), [("loss", "the loss is nan"), ("weights", "tensors of the weights")])
def test_a_training_whose_numbers_are_none_stops_and_keeps_the_last_good_ones(
    build: Build, tmp_path: Path, what: str, seen: str
) -> None:
    build([0.5], 1).run()
    last, best = (tmp_path / name for name in ("checkpoints/last.pt", "models/model.pt"))
    before = torch.load(last, weights_only=True)["network"], best.read_bytes()
    training = build([0.5, 0.9], 3)
    from_epoch(training, 2, what)
    with pytest.raises(DelineateError, match=f"epoch 2: .*{seen}.*lower learning_rate.*precision=float32"):
        training.run()
    state = torch.load(last, weights_only=True)
    assert state["epoch"] == 1
    assert all(torch.equal(state["network"][name], before[0][name]) for name in before[0])
    assert check_sums(best.parent) == []
    assert best.read_bytes() == before[1]


def test_a_loss_that_is_none_stops_within_the_epoch(build: Build) -> None:
    training = build([0.5], 1)
    from_epoch(training, 1, "loss")
    with pytest.raises(DelineateError):
        training.run()
    assert training.trainer.state.iteration == 2
