from __future__ import annotations

import logging
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from ignite.engine import Events
from tiny_training import Build

from delineate.pipelines.bundling.weights import load_weights
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.failures import in_words
from delineate.pipelines.core.sums import check_sums, sha256, write_sums


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def weights(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for value in state.values()])


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def states(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


# --- what is saved -------------------------------------------------------------------------------------------


def test_model_is_the_best_and_last_the_last(build: Build, models: Path, states: Path) -> None:
    build([0.2, 0.9], 2).run()
    best = load(models / "model.pt")
    training = build([0.2, 0.9, 0.5, 0.1], 4)
    training.run()
    assert torch.equal(weights(load(models / "model.pt")), weights(best))
    assert torch.equal(weights(load(states / "last.pt")["network"]), training.weights())
    assert not torch.equal(weights(best), training.weights())


def test_the_first_validation_is_saved_even_when_it_scores_0(build: Build, models: Path) -> None:
    build([0.0], 1).run()
    assert (models / "model.pt").is_file()


def test_nothing_is_called_best_before_a_validation(build: Build, models: Path, states: Path) -> None:
    build([], 1, interval=2).run()
    assert not list(models.iterdir())
    assert load(states / "last.pt")["epoch"] == 1


def test_the_folder_of_weights_holds_the_best_and_nothing_else(build: Build, models: Path) -> None:
    build([0.5, 0.6, 0.7], 3, save_interval=1).run()
    assert sorted(p.name for p in models.iterdir()) == ["SHA256SUMS", "model.pt"]


def test_an_epoch_without_validation_does_not_replace_the_best(build: Build, models: Path) -> None:
    build([0.5], 2, interval=2).run()
    best = (models / "model.pt").read_bytes()
    build([0.5], 3, interval=2).run()
    assert (models / "model.pt").read_bytes() == best


@pytest.mark.parametrize(("interval", "kept"), [(0, []), (2, ["epoch_0002.pt", "epoch_0004.pt"])])
def test_every_nth_network_is_kept(build: Build, states: Path, interval: int, kept: list[str]) -> None:
    build([0.5] * 5, 5, save_interval=interval).run()
    assert sorted(p.name for p in states.glob("epoch_*.pt")) == kept


def test_the_best_is_listed_with_its_hash(build: Build, models: Path) -> None:
    build([0.2, 0.9, 0.5], 3, save_interval=1).run()
    assert (models / "SHA256SUMS").read_text() == f"{sha256(models / 'model.pt')}  model.pt\n"
    assert check_sums(models) == []


def test_the_best_loads_like_any_bundles_weights(build: Build, models: Path) -> None:
    build([0.5], 1).run()
    loaded = load_weights(torch.nn.Conv2d(1, 1, 3, padding=1), models.parent)
    assert torch.equal(weights(dict(loaded.state_dict())), weights(load(models / "model.pt")))


def test_the_same_training_gives_the_same_file(build: Build, models: Path) -> None:
    hashes = []
    for _ in range(2):
        build([0.5], 1).run()
        hashes.append(sha256(models / "model.pt"))
    assert hashes[0] == hashes[1]


# --- the way back --------------------------------------------------------------------------------------------


def test_a_resumed_training_ends_with_the_weights_of_an_unbroken_one(build: Build) -> None:
    unbroken = build([0.5] * 4, 4)
    unbroken.run()
    build([0.5] * 2, 2).run()
    resumed = build([0.5] * 2, 4, resume=True)
    assert resumed.run() == 4
    assert torch.equal(resumed.weights(), unbroken.weights())
    assert resumed.trainer.state.iteration == unbroken.trainer.state.iteration


def test_a_worse_validation_after_a_resume_leaves_the_best(build: Build, models: Path) -> None:
    build([0.9, 0.3], 2).run()
    best = (models / "model.pt").read_bytes()
    resumed = build([0.8, 0.7], 4, resume=True)
    resumed.run()
    assert (models / "model.pt").read_bytes() == best
    assert (resumed.validator.state.best_metric, resumed.validator.state.best_metric_epoch) == (0.9, 1)


def test_a_better_validation_after_a_resume_replaces_the_best(build: Build, models: Path) -> None:
    build([0.5, 0.3], 2).run()
    best = (models / "model.pt").read_bytes()
    build([0.8], 3, resume=True).run()
    assert (models / "model.pt").read_bytes() != best
    assert check_sums(models) == []


def test_a_finished_training_has_nothing_left_to_do(build: Build, models: Path, states: Path) -> None:
    build([0.5, 0.6], 2).run()
    before = {p: p.read_bytes() for p in (*models.iterdir(), *states.iterdir())}
    assert build([], 2, resume=True).run() == 2
    assert {p: p.read_bytes() for p in (*models.iterdir(), *states.iterdir())} == before


def test_resuming_a_finished_training_says_that_nothing_is_left(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    build([0.5, 0.6], 2).run()
    with caplog.at_level(logging.INFO, "delineate"):
        build([], 2, resume=True).run()
    assert "nothing is left to train: all 2 epochs are done; --set max_epochs=N adds epochs" in caplog.messages


def test_resuming_without_a_state_starts_from_scratch(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "delineate"):
        assert build([0.5], 1, resume=True).run() == 1
    assert "last.pt yet: training starts" in caplog.text


def test_without_resume_a_state_is_passed_over(build: Build) -> None:
    fresh = build([0.5], 1)
    fresh.run()
    again = build([0.5], 1)
    again.run()
    assert torch.equal(fresh.weights(), again.weights())


@pytest.mark.parametrize("change", ["network", "optimizer", "missing"])
def test_a_state_of_another_training_is_refused(build: Build, states: Path, change: str) -> None:
    build([0.5], 1).run()
    state = load(states / "last.pt")
    if change == "network":
        state["network"] = torch.nn.Conv2d(1, 2, 3).state_dict()
    elif change == "optimizer":
        state["optimizer"] = torch.optim.AdamW([torch.zeros(1)]).state_dict()
    else:
        del state["lr_scheduler"]
    torch.save(state, states / "last.pt")
    write_sums(states, ["last.pt"])
    with pytest.raises(DelineateError, match=r"last\.pt is of another .*; train without resume") as refused:
        build([0.5], 2, resume=True).run()
    assert len(str(refused.value).splitlines()) == 1


# --- damaged states ------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("no state")


@pytest.mark.parametrize("damage", [flip, truncate, empty, text, Path.unlink])
def test_a_damaged_state_is_told_and_the_one_before_ends_in_the_same_weights(
    build: Build, states: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    unbroken = build([0.5] * 4, 4)
    unbroken.run()
    build([0.5] * 3, 3).run()
    damage(states / "last.pt")
    resumed = build([0.5] * 2, 4, resume=True)
    assert resumed.run() == 4
    assert torch.equal(resumed.weights(), unbroken.weights())
    assert f"goes on from {states / 'previous.pt'}" in caplog.text
    assert check_sums(states) == []
    if damage is not Path.unlink:
        assert f"{states / 'last.pt'} is damaged" in caplog.text


@pytest.mark.parametrize("damage", [flip, truncate, empty, text])
def test_without_a_whole_state_nothing_is_resumed(build: Build, states: Path, damage: Callable[[Path], None]) -> None:
    build([0.5] * 3, 3).run()
    damage(states / "last.pt")
    damage(states / "previous.pt")
    with pytest.raises(DelineateError, match=r"last\.pt is damaged.*previous\.pt is damaged.*new run") as refused:
        build([0.5], 4, resume=True).run()
    assert len(str(refused.value).splitlines()) == 1


def test_a_listed_file_that_is_no_state_is_refused(build: Build, states: Path) -> None:
    build([0.5], 1).run()
    torch.save({"weight": torch.zeros(1)}, states / "last.pt")
    write_sums(states, ["last.pt"])
    with pytest.raises(DelineateError, match=r"last\.pt: holds no state of a training"):
        build([0.5], 2, resume=True).run()


def test_states_of_an_earlier_version_are_found_and_moved_out_of_models(
    build: Build, models: Path, states: Path
) -> None:
    unbroken = build([0.5] * 3, 3)
    unbroken.run()
    build([0.5] * 2, 2, save_interval=1).run()
    for name in ("last.pt", "epoch_0001.pt", "epoch_0002.pt"):
        (states / name).rename(models / name)
    shutil.rmtree(states)
    resumed = build([0.5], 3, resume=True)
    resumed.run()
    assert torch.equal(resumed.weights(), unbroken.weights())
    assert sorted(p.name for p in models.iterdir()) == ["SHA256SUMS", "model.pt"]
    assert check_sums(states) == []


# --- one training at a time ----------------------------------------------------------------------------------


def test_a_second_process_cannot_train_in_the_same_folder(build: Build, states: Path) -> None:
    training = build([0.5], 1)
    code = (
        "import sys; from pathlib import Path; from delineate.pipelines.training.runs import hold_training;"
        "hold_training(Path(sys.argv[1]))"
    )
    second = subprocess.run([sys.executable, "-c", code, states], capture_output=True, text=True)
    assert "another process is training there" in second.stderr
    training.run()
    subprocess.run([sys.executable, "-c", code, states], check=True)


# --- never half written --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.pt", "last.pt"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_write_that_fails_midway_leaves_the_file_from_before(
    build: Build, models: Path, states: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException
) -> None:
    training = build([0.2, 0.9], 2)
    save = torch.save
    saved: list[Any] = []

    def breaks(state: Any, file: BinaryIO) -> None:
        saved.append(state)
        if len(saved) == (3 if name == "model.pt" else 4):  # of the second epoch
            file.write(b"PK half a file")
            raise error
        save(state, file)

    monkeypatch.setattr(torch, "save", breaks)
    with pytest.raises(type(error)):
        training.run()
    assert len(saved) == (3 if name == "model.pt" else 4)
    assert load(states / "last.pt")["epoch"] == 1
    assert check_sums(models) == []
    assert check_sums(states) == []
    assert sorted(p.name for p in models.iterdir()) == ["SHA256SUMS", "model.pt"]
    assert sorted(p.name for p in states.iterdir()) == ["SHA256SUMS", "last.pt", "training.lock"]


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_the_last_state(
    build: Build, models: Path, states: Path
) -> None:
    build([0.5], 1).run()
    training, (soft, hard) = build([0.9, 0.9], 2, resume=True), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
    try:
        with pytest.raises(Exception) as refused:  # noqa: PT011 (torch wraps it)
            training.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large; raise the limit" in str(in_words(refused.value))
    assert load(states / "last.pt")["epoch"] == 1
    assert check_sums(models) == check_sums(states) == []
    assert not [path for path in (*models.iterdir(), *states.iterdir()) if path.name.endswith(".tmp")]


# --- early stopping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patience", "last"), [(1, 3), (2, 4), (0, 6)])
def test_training_stops_when_patience_has_run_out(build: Build, patience: int, last: int) -> None:
    assert build([0.1, 0.5, 0.4, 0.3, 0.2, 0.1], 6, patience=patience).run() == last


def test_training_goes_on_while_it_gets_better(build: Build) -> None:
    assert build([0.1, 0.2, 0.3, 0.4], 4, patience=1).run() == 4


def test_a_stopped_training_that_is_resumed_stays_stopped(build: Build, states: Path) -> None:
    assert build([0.5, 0.4, 0.3], 9, patience=2).run() == 3
    before = (states / "last.pt").read_bytes()
    assert build([], 9, patience=2, resume=True).run() == 3
    assert (states / "last.pt").read_bytes() == before


def test_a_resumed_training_stops_where_an_unbroken_one_would(build: Build) -> None:
    build([0.5, 0.4], 2, patience=3).run()
    assert build([0.3, 0.2, 0.1], 9, patience=3, resume=True).run() == 4


def test_the_reason_for_stopping_is_logged(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "delineate"):
        build([0.5, 0.4], 9, patience=1).run()
    assert "no better validation since epoch 1: stopped after epoch 2" in caplog.messages


# --- extended ------------------------------------------------------------------------------------------------


def test_an_extended_training_warms_up_once_more(build: Build) -> None:
    build([0.5] * 3, 3, cycle=6).run()
    cold = build([0.5] * 3, 6, resume=True, extended_from=3, cycle=6)
    cold.run()
    rates = [row["learning_rate"] for row in cold.history.rows]
    assert rates[0] > 2 * rates[2]
    assert rates[3:] == pytest.approx(rates[:3])


def test_an_extended_training_that_is_broken_off_ends_as_one_that_is_not(build: Build, states: Path) -> None:
    build([0.5] * 3, 3, cycle=6).run()
    kept = {path: path.read_bytes() for path in states.iterdir()}
    unbroken = build([0.5] * 3, 6, resume=True, extended_from=3, cycle=6)
    unbroken.run()
    for path in states.iterdir():
        path.write_bytes(kept[path])
    broken = build([0.5] * 2, 6, resume=True, extended_from=3, cycle=6)
    broken.trainer.add_event_handler(Events.EPOCH_STARTED(once=5), lambda: broken.trainer.terminate())
    broken.run()
    assert load(states / "last.pt")["epoch"] == 4
    resumed = build([0.5] * 2, 6, resume=True, extended_from=3, cycle=6)
    resumed.run()
    assert torch.equal(resumed.weights(), unbroken.weights())
    assert [row["learning_rate"] for row in resumed.history.rows] == [
        row["learning_rate"] for row in unbroken.history.rows
    ]


def test_a_stopped_training_that_is_extended_goes_on(build: Build) -> None:
    assert build([0.5, 0.4, 0.3], 9, patience=2).run() == 3
    assert build([0.2] * 6, 9, patience=2, resume=True, extended_from=3).run() == 5


# --- begun with other weights --------------------------------------------------------------------------------


def give(states: Path, weights: dict[str, torch.Tensor]) -> None:
    states.mkdir()
    torch.save(weights, states / "initial.pt")
    write_sums(states, ["initial.pt"])


def test_a_training_begins_with_the_weights_that_fit(build: Build, states: Path) -> None:
    weight = torch.full((1, 1, 3, 3), 0.25)
    give(states, {"weight": weight, "bias": torch.zeros(7), "head": torch.zeros(1)})
    training, seen = build([0.5], 1), []
    training.trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda: seen.append(training.network.state_dict()["weight"].clone())
    )
    training.run()
    assert torch.equal(seen[0], weight)
    assert training.trainer.state.initial_weights == {
        "sha256": sha256(states / "initial.pt"),
        "taken": 1,
        "as_initialised": ["bias"],
        "not_used": ["bias", "head"],
    }


def test_a_resumed_training_does_not_begin_again(build: Build, states: Path) -> None:
    give(states, {"weight": torch.full((1, 1, 3, 3), 0.25)})
    unbroken = build([0.5] * 3, 3)
    unbroken.run()
    build([0.5] * 2, 2).run()
    resumed = build([0.5], 3, resume=True)
    resumed.run()
    assert torch.equal(resumed.weights(), unbroken.weights())


@pytest.mark.parametrize(
    ("weights", "reason"),
    [({"other": torch.zeros(3)}, "other names or shapes"), ({"bias": torch.tensor([torch.nan])}, "not finite")],
)
def test_weights_of_no_use_to_begin_with_are_refused(
    build: Build, states: Path, weights: dict[str, torch.Tensor], reason: str
) -> None:
    give(states, weights)
    with pytest.raises(DelineateError, match=reason):
        build([0.5], 1).run()


def test_of_many_tensors_that_do_not_fit_three_are_named(
    build: Build, states: Path, caplog: pytest.LogCaptureFixture
) -> None:
    give(states, {"weight": torch.zeros(1, 1, 3, 3)} | {f"other{number}": torch.zeros(1) for number in range(5)})
    with caplog.at_level(logging.INFO, "delineate"):
        build([0.5], 1).run()
    begin = next(message for message in caplog.messages if message.startswith("training begins"))
    assert begin.endswith("as initialised: bias; not used: other0, other1, other2 and 2 more")
    assert "training starts from scratch" not in caplog.messages
