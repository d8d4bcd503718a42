"""Killed at any moment, a training that is resumed ends as one that was never killed."""

from __future__ import annotations

import csv
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from processes import EPOCHS, SMALL, call, delineate, inside, refusal, stop_when, succeeded

if TYPE_CHECKING:
    from conftest import Place

pytestmark = pytest.mark.slow


def epochs(run: Path) -> int:
    history = run / "logs" / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.is_file() else 0


def kill_when(ready: Callable[[], bool], *words: str, cwd: Path, delay: float = 0) -> None:
    assert stop_when(ready, signal.SIGKILL, *words, cwd=cwd, delay=delay) == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like ``place.run``, killed five times: before its first epoch, thrice in the middle, while it starts."""
    folder = tmp_path_factory.mktemp("killed")
    shutil.copytree(place.dataset, folder / "dataset")
    run, rng = folder / "run", random.Random(0)
    begin = ("train", "skin_lesion", "--data", "dataset", "--out", "run")
    kill_when((run / "configs").is_dir, *begin, *SMALL, cwd=folder)
    assert epochs(run) == 0
    kill_when((run / "models" / "model.pt").is_file, *begin, "--resume", cwd=folder)
    assert stop_when(lambda: epochs(run) >= 3, signal.SIGTERM, *begin, "--resume", cwd=folder) == 143
    last = (folder / "stopped.log").read_text().splitlines()[-1]
    assert (
        last == "error: stopped by SIGTERM; go on with: delineate train skin_lesion --data dataset --out run --resume"
    )
    kill_when(lambda: epochs(run) >= 5, *begin, "--resume", cwd=folder, delay=rng.uniform(0, 0.1))
    assert 5 <= epochs(run) < EPOCHS
    for name in ("models", "checkpoints", "logs"):  # as if killed in the middle of writing a file
        (run / name / f".{'0' * 32}.tmp").write_bytes(b"half a fi")
    kill_when(lambda: True, *begin, "--resume", cwd=folder, delay=rng.uniform(0.1, 0.4))
    succeeded(delineate(*begin, "--resume", cwd=folder))
    return run


def tensors(state: Any) -> list[Any]:
    """Everything in nested containers, in order."""
    if isinstance(state, dict):
        return [leaf for key in sorted(state, key=str) for leaf in (key, *tensors(state[key]))]
    return [leaf for part in state for leaf in tensors(part)] if isinstance(state, list | tuple) else [state]


def load(run: Path, name: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / name, weights_only=True)
    return state


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(tensors(one), tensors(other), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_the_best_weights_are_the_same(place: Place, killed: Path) -> None:
    assert_same(load(place.run, "models/model.pt"), load(killed, "models/model.pt"))


@pytest.mark.parametrize("part", ["network", "optimizer", "lr_scheduler", "epoch", "iteration", "best_metric_epoch"])
def test_the_last_state_is_the_same(part: str, place: Place, killed: Path) -> None:
    assert_same(load(place.run, "checkpoints/last.pt")[part], load(killed, "checkpoints/last.pt")[part])


def test_the_history_is_the_same_but_for_the_time_it_took(place: Place, killed: Path) -> None:
    histories = []
    for run in (place.run, killed):
        with (run / "logs" / "history.csv").open(newline="") as file:
            histories.append([{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)])
    assert histories[0] == histories[1]
    assert len(histories[0]) == EPOCHS


def test_the_weights_match_their_hashes(killed: Path) -> None:
    said = succeeded(call("sha256sum", "--check", "SHA256SUMS", cwd=killed / "models")).stdout
    assert said == "familiarity.json: OK\nmodel.pt: OK\n"


def test_no_half_written_file_is_left(killed: Path) -> None:
    assert not [path for path in killed.rglob("*") if path.name.endswith(".tmp")]
    assert "passes" in succeeded(inside("bundle", "verify", killed)).stdout


def test_resuming_a_finished_run_changes_nothing(killed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(killed, run)
    succeeded(delineate("train", "skin_lesion", "--data", killed.parent / "dataset", "--out", run, "--resume"))
    for name in ("models/model.pt", "checkpoints/last.pt"):
        assert_same(load(killed, name), load(run, name))


def test_a_second_training_in_one_folder_is_refused_and_the_first_goes_on(killed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "place"
    shutil.copytree(killed.parent, folder)
    lock = folder / "run" / "checkpoints" / "training.lock"
    code = "import sys; from delineate.pipelines.core.files import hold; print(hold(sys.argv[1]), flush=True); input()"
    first = subprocess.Popen(
        [sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "True\n"
    done = delineate("train", "skin_lesion", "--data", "dataset", "--out", "run", "--resume", cwd=folder)
    assert "another process is training there" in refusal(done)
    first.communicate("\n", timeout=100)
    assert first.returncode == 0
