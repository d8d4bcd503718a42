from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tiny_training import Build, Training

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.training.record import RunRecord

SHA = {"image_sha256": "0" * 64, "label_sha256": "1" * 64}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    entry = {"image": "a.png", "label": "a_mask.png", "group": "a", **SHA}
    (tmp_path / "data").mkdir()
    (tmp_path / "data/datalist.json").write_text(json.dumps({"training": [entry], "validation": [], "test": []}))
    return tmp_path / "data"


def recorded(training: Training, dataset: Path, **settings: Any) -> Training:
    RunRecord(dataset.parent / "logs", dataset, training.validator, {"seed": 7, **settings}).attach(training.trainer)
    return training


def sessions(dataset: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((dataset.parent / "logs/record.json").read_text())["sessions"]
    return found


def test_the_record_says_what_was_trained_on_what_with_what(build: Build, dataset: Path) -> None:
    recorded(build([0.25, 0.5, 0.1], 3), dataset).run()
    [session] = sessions(dataset)
    assert session["completed"] is True
    assert session["epochs"] == 3
    assert session["best"] == {"epoch": 2, "metric": "val_mean_dice", "value": 0.5}
    assert session["settings"] == {"seed": 7}
    assert session["dataset_dir"] == str(dataset)
    assert {"started", "command", "device", "threads", "versions", "commit", "data_hash"} <= session.keys()


def test_a_resumed_training_adds_a_session(build: Build, dataset: Path) -> None:
    recorded(build([0.5], 1), dataset, resume=False).run()
    recorded(build([0.6], 2, resume=True), dataset, resume=True).run()
    assert [session["epochs"] for session in sessions(dataset)] == [1, 2]


def test_a_new_training_starts_a_new_record(build: Build, dataset: Path) -> None:
    for _ in range(2):
        recorded(build([0.5], 1), dataset).run()
    assert len(sessions(dataset)) == 1


def test_a_training_that_broke_off_is_not_called_complete(build: Build, dataset: Path) -> None:
    training = recorded(build([0.5], 3), dataset)

    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    training.validator.network.register_forward_hook(lambda *_: fail() if training.trainer.state.epoch == 2 else None)
    with pytest.raises(RuntimeError, match="out of memory"):
        training.run()
    [session] = sessions(dataset)
    assert "completed" not in session
    assert session["epochs"] == 1


def test_an_early_stop_completes_the_record(build: Build, dataset: Path) -> None:
    recorded(build([0.5, 0.4], 9, patience=1), dataset).run()
    assert (sessions(dataset)[0]["completed"], sessions(dataset)[0]["epochs"]) == (True, 2)


def test_the_log_file_holds_the_lines_of_the_training(build: Build, dataset: Path) -> None:
    logger = logging.getLogger("delineate")
    before, level = list(logger.handlers), logger.level
    logger.setLevel(logging.INFO)
    recorded(build([0.5], 1), dataset).run()
    logger.setLevel(level)
    assert "epoch 1/1" in (dataset.parent / "logs/train.log").read_text()
    assert logger.handlers == before


# --- resumed on other data -----------------------------------------------------------------------------------


def change(dataset: Path) -> None:
    entry = {"image": "b.png", "label": "b_mask.png", "group": "b", **SHA}
    lists = json.loads((dataset / "datalist.json").read_text())
    (dataset / "datalist.json").write_text(json.dumps({**lists, "validation": [entry]}))


def test_a_training_is_not_resumed_on_other_data(build: Build, dataset: Path) -> None:
    recorded(build([0.5], 1), dataset).run()
    before = sessions(dataset)
    change(dataset)
    with pytest.raises(DelineateError, match=r"not the data .*--allow-other-data"):
        recorded(build([0.6], 2, resume=True), dataset, resume=True).run()
    assert sessions(dataset) == before


def test_what_has_changed_in_the_data_is_told(build: Build, dataset: Path) -> None:
    recorded(build([0.5], 1), dataset).run()
    entry = json.loads((dataset / "datalist.json").read_text())["training"][0]
    (dataset / "datalist.json").write_text(json.dumps({"training": [entry] * 3, "validation": [], "test": []}))
    with pytest.raises(DelineateError, match="training: 1, now 3"):
        recorded(build([0.6], 2, resume=True), dataset, resume=True).run()


def test_a_training_is_resumed_on_other_data_where_that_is_allowed(build: Build, dataset: Path) -> None:
    recorded(build([0.5], 1), dataset).run()
    change(dataset)
    recorded(build([0.6], 2, resume=True), dataset, resume=True, allow_other_data=True).run()
    one, other = sessions(dataset)
    assert one["data_hash"] != other["data_hash"]
    assert other["settings"]["allow_other_data"] is True


@pytest.mark.parametrize("text", ["", '{"sessions": [{', "[]", '{"sessions": [1]}'])
def test_a_damaged_record_is_refused_by_name(build: Build, dataset: Path, text: str) -> None:
    recorded(build([0.5], 1), dataset).run()
    (dataset.parent / "logs/record.json").write_text(text)
    with pytest.raises(DelineateError, match=r"record\.json: is no record of a run .*remove it"):
        recorded(build([0.6], 2, resume=True), dataset, resume=True).run()
