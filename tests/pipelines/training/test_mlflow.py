from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_training import Build

from delineate.pipelines.training.mlflow import EXPERIMENT, MlflowLogger


@pytest.mark.filterwarnings("ignore")  # of MLflow and what it imports
def test_mlflow_has_each_epoch_once_and_a_resumed_training_goes_on_in_its_run(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)  # see tests/support/lean.py
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")

    def refuse(*_: Any) -> None:
        raise AssertionError("MLflow asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE", "GIT_PYTHON_REFRESH"):
        monkeypatch.delenv(name, raising=False)

    def train(epochs: int, resume: bool) -> None:
        training = build([0.5] if resume else [0.25], epochs, resume=resume)
        MlflowLogger(True, tmp_path / "run", training.history, {"seed": 0, "resume": resume}).attach(training.trainer)
        training.run()

    train(1, resume=False)
    train(2, resume=True)
    from mlflow import MlflowClient

    client = MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "val_mean_dice")
    assert [(one.step, one.value) for one in history] == [(1, 0.25), (2, 0.5)]
    assert (run.info.status, run.info.run_name, run.data.params["seed"]) == ("FINISHED", "run", "0")


def test_without_it_nothing_is_logged(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    training = build([0.5], 1)
    MlflowLogger(False, tmp_path / "run", training.history).attach(training.trainer)
    training.run()
    assert not (tmp_path / "mlruns").exists()
