from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.bundling.gate import admit
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.phantoms.images import write_phantoms
from delineate.pipelines.training.workflows import evaluate, run_workflow, train

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of every bundle that is run

SMALL = {"image_size": [64, 64], "max_epochs": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_phantoms(folder / "phantoms", 12)
    index_dataset(folder / "phantoms", out=folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("skin_lesion", data, tmp_path_factory.mktemp("runs") / "skin", settings=SMALL)


def test_a_training_gives_the_folder_of_its_run(run: Path) -> None:
    assert (run / "models" / "model.pt").is_file()


def test_scores_come_back_as_they_are_written(run: Path, data: Path, tmp_path: Path) -> None:
    scores = evaluate(run, data, tmp_path / "scores", split="validation")
    assert scores == json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert scores["split"] == "validation"
    assert 0 <= scores["mean_dice"]["value"] <= 1


def test_without_a_folder_for_scores_nothing_is_written(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(run.rglob("*"))
    assert evaluate(run, data)["count"] > 0
    assert sorted(run.rglob("*")) == before
    assert not any(tmp_path.iterdir())


def test_a_bundle_without_weights_is_refused_in_one_clear_line(data: Path) -> None:
    with pytest.raises(DelineateError, match="has no weights") as refused:
        evaluate("skin_lesion", data)
    assert "_mode_" not in str(refused.value)


def test_what_is_no_data_set_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"no datalist\.json"):
        train("skin_lesion", tmp_path, tmp_path / "run")
    assert not any(tmp_path.iterdir())


def test_a_training_from_python_says_each_thing_once_and_nothing_of_libraries(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "delineate"):
        train("skin_lesion", data, tmp_path / "run", settings=SMALL)
    assert "logging" not in capsys.readouterr().out.lower()
    assert len(caplog.messages) == len(set(caplog.messages))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_epochs": 0}, "max_epochs is 0; set a whole number of 1 or more"),
        ({"image_size": [0, 0]}, r"^image_size is \[0, 0\]; set rows and columns"),
        ({"image_size": [5, 5]}, "this network needs 16 or more a side"),
        ({"optimizer::weight_decay": "much"}, r"torch\.optim\.AdamW cannot be made of its settings \(params, lr, "),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_and_leaves_no_run(
    data: Path, tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(DelineateError, match=reason) as refused:
        train("skin_lesion", data, tmp_path / "run", settings=SMALL | settings)
    assert "\n" not in str(refused.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"threshold": 2}, "threshold is 2; set a probability"),
        ({"image_size": [4, 4]}, "this network needs 16 or more a side"),
        ({"max_epochs": 3}, "max_epochs is a setting of training, not of evaluation"),
    ],
    ids=str,
)
def test_a_wrong_setting_of_an_evaluation_is_refused(
    run: Path, data: Path, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(DelineateError, match=reason):
        evaluate(run, data, settings=settings)


def test_a_workflow_is_announced_before_it_starts(data: Path) -> None:
    told: list[Any] = []
    config = shipped_bundles()["skin_lesion"] / "configs" / "evaluate.yaml"
    with pytest.raises(DelineateError):
        run_workflow(
            admit("skin_lesion"), config, {"bundle_root": str(config.parents[1])}, lambda *words: told.append(words)
        )
    assert told == [(str(config), {"bundle_root": str(config.parents[1])})]
