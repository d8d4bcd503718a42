from __future__ import annotations

import csv
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_training import Build

from delineate.pipelines.training import checkpoint
from delineate.pipelines.training.history import HistoryLogger


def rows(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "logs/history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class Curves:
    """Stands for TensorBoard's writer."""

    def __init__(self) -> None:
        self.scalars: list[tuple[str, float, int]] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def flush(self) -> None:
        pass


def test_each_epoch_is_a_row(build: Build, tmp_path: Path) -> None:
    training = build([0.25, 0.5], 2)
    training.run()
    written = rows(tmp_path)
    assert list(written[0]) == ["epoch", "loss", "learning_rate", "val_mean_dice", "seconds"]
    assert [(row["epoch"], row["val_mean_dice"]) for row in written] == [("1", "0.25"), ("2", "0.5")]
    assert float(written[0]["learning_rate"]) == 0.1


def test_the_loss_is_the_mean_of_the_epoch(build: Build, tmp_path: Path) -> None:
    training, losses = build([0.5, 0.5], 2), []
    training.trainer.loss_function.register_forward_hook(lambda *args: losses.append(float(args[-1].detach())))
    training.run()
    assert len(losses) == 4
    for row, expected in zip(rows(tmp_path), (losses[:2], losses[2:]), strict=True):
        assert float(row["loss"]) == pytest.approx(sum(expected) / 2)


def test_epochs_without_validation_have_no_score(build: Build, tmp_path: Path) -> None:
    build([0.5], 3, interval=2).run()
    written = rows(tmp_path)
    assert [row["val_mean_dice"] for row in written] == ["", "0.5", ""]
    assert list(written[0])[-1] == "seconds"


def validated(tmp_path: Path, values: torch.Tensor, mean: float, **more: Any) -> dict[str, str]:
    """The row of an epoch after whose validation the metric kept these values, (images, structures)."""
    state = SimpleNamespace(epoch=1, metrics={"val_mean_dice": mean}, metric_details={"val_mean_dice": values})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    history = HistoryLogger(SimpleNamespace(state=state), optimizer, tmp_path / "logs", **more)  # type: ignore[arg-type]
    trainer: Any = SimpleNamespace(state=SimpleNamespace(epoch=1, max_epochs=1, output={"loss": torch.tensor(0.5)}))
    history.epoch_started(trainer)
    history.iteration_completed(trainer)
    history.epoch_completed(trainer)
    return rows(tmp_path)[0]


HEART_AND_LUNG = [{"name": "heart"}, {"name": "left lung"}]


def test_each_structure_is_a_column_beside_the_mean(tmp_path: Path) -> None:
    values = torch.tensor([[0.5, torch.nan], [0.75, 0.25]])
    row = validated(tmp_path, values, 0.4375, structures=HEART_AND_LUNG)
    assert list(row)[3:] == ["val_mean_dice", "val_mean_dice_heart", "val_mean_dice_left_lung", "seconds"]
    assert [row[name] for name in list(row)[3:6]] == ["0.4375", "0.625", "0.25"]


@pytest.mark.parametrize("structures", [None, HEART_AND_LUNG[:1]], ids=["no name", "a name"])
def test_a_single_structure_has_no_column_of_its_own(tmp_path: Path, structures: Any) -> None:
    row = validated(tmp_path, torch.tensor([[0.5], [0.75]]), 0.625, structures=structures)
    assert list(row) == ["epoch", "loss", "learning_rate", "val_mean_dice", "seconds"]


def test_a_metric_of_other_columns_has_the_mean_alone(tmp_path: Path) -> None:
    row = validated(tmp_path, torch.ones(2, 1, 4), 0.5, structures=HEART_AND_LUNG)
    assert "val_mean_dice_heart" not in row


def test_what_is_undefined_is_left_empty(tmp_path: Path) -> None:
    values = torch.tensor([[0.5, torch.nan]])
    curves = Curves()
    row = validated(tmp_path, values, float("nan"), structures=HEART_AND_LUNG, writer=curves)
    assert row.get("val_mean_dice_left_lung", "") == row.get("val_mean_dice", "") == ""
    assert all(value == value for _, value, _ in curves.scalars)


def test_rows_survive_a_resume(build: Build, tmp_path: Path) -> None:
    build([0.1, 0.2], 2).run()
    before = rows(tmp_path)
    build([0.3], 3, resume=True).run()
    assert rows(tmp_path)[:2] == before
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]


def test_a_new_training_starts_a_new_history(build: Build, tmp_path: Path) -> None:
    for _ in range(2):
        build([0.1], 1).run()
    assert [row["epoch"] for row in rows(tmp_path)] == ["1"]


def test_each_epoch_is_a_line(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "delineate"):
        build([0.25], 1).run()
    lines = [line for line in caplog.messages if line.startswith("epoch 1/1  loss ")]
    assert len(lines) == 1
    assert "val_mean_dice 0.2500" in lines[0]


@pytest.mark.parametrize(("scores", "warned"), [([0.0, 0.0], 1), ([0.0, 0.1], 0)])
def test_a_training_that_found_nothing_ends_with_a_warning(
    build: Build, caplog: pytest.LogCaptureFixture, scores: list[float], warned: int
) -> None:
    build(scores, 2).run()
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.startswith("the best validation Dice is 0: ") for line in warnings] == [True] * warned


def test_the_writer_gets_the_same_figures(build: Build, tmp_path: Path) -> None:
    training = build([0.25, 0.5], 2)
    training.history.writer = curves = Curves()
    training.run()
    expected = {
        (name, float(row[name]), int(row["epoch"])) for row in rows(tmp_path) for name in row if name != "epoch"
    }
    assert set(curves.scalars) == expected


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ValueError("a bug")])
def test_an_error_in_training_is_not_swallowed(build: Build, error: Exception) -> None:
    def fail(*_: Any) -> Any:
        raise error

    training = build([0.5], 2)
    training.trainer.loss_function = fail
    with pytest.raises(type(error), match=str(error)):
        training.run()


def test_an_error_of_another_handler_is_not_swallowed(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    training = build([0.5], 1)
    monkeypatch.setattr(checkpoint, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        training.run()


def test_the_randomness_of_an_epoch_depends_on_seed_and_epoch_alone(build: Build) -> None:
    def draws(epochs: int, resume: bool) -> list[float]:
        training, drawn = build([0.5] * 3, epochs, resume=resume), []
        training.trainer.loss_function.register_forward_hook(lambda *_: drawn.append(float(torch.rand(1))))
        torch.rand(len(drawn) + resume)
        training.run()
        return drawn

    unbroken = draws(3, resume=False)
    assert draws(2, resume=False) + draws(3, resume=True) == unbroken
    assert len(set(unbroken)) == 6
