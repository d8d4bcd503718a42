"""A cross-validation by whole processes: killed in the middle of a fold, and gone on with by the same command."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import pytest
from processes import NO_PAGE, Done, delineate, inside, stop_when, succeeded

pytestmark = pytest.mark.slow
COMMAND = ("cross-validate", "bundle", "--folds", "2", "--network", "ultra_light_unet", "--set", "max_epochs=3",
           "--set", "image_size=[64,64]", "--set", "batch_size=4", "--out", "out")  # fmt: skip


@pytest.fixture(scope="module")
def validated(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    folder = tmp_path_factory.mktemp("cross")
    state = folder / "out" / "fold_1" / "run" / "checkpoints" / "last.pt"
    command = (*COMMAND, "--data", dataset)
    succeeded(inside("bundle", "new", "bundle", "--task", "skin_lesion", *NO_PAGE, cwd=folder))  # of a fold
    assert stop_when(state.is_file, signal.SIGKILL, *command, cwd=folder) == -signal.SIGKILL
    return folder / "out", succeeded(delineate(*command, cwd=folder))


def test_each_image_is_judged_once(validated: tuple[Path, Done], dataset: Path) -> None:
    out, _ = validated
    with (out / "evaluation" / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lists = json.loads((dataset / "datalist.json").read_text())
    every = [Path(entry["image"]).name for split in ("training", "validation", "test") for entry in lists[split]]
    assert sorted(Path(row["image"]).name for row in rows) == sorted(every)
    assert {row["fold"] for row in rows} == {"0", "1"}
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    assert "seen_in_training" not in metrics
    assert "Cross-validation of bundle, ultra_light_unet" in (out / "evaluation" / "report.html").read_text()


def test_what_was_killed_went_on(validated: tuple[Path, Done]) -> None:
    out, done = validated
    assert "fold 0, seed 0" not in done.stdout
    assert "resumed from" in done.stdout
    with (out / "fold_1" / "run" / "logs" / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_an_ensemble_that_is_scored_on_what_its_members_have_seen_says_so(
    validated: tuple[Path, Done], dataset: Path, tmp_path: Path
) -> None:
    out, _ = validated
    done = succeeded(inside("evaluate", out / "ensemble", "--data", dataset, "--out", tmp_path, *NO_PAGE))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["seen_in_training"] == metrics["count"]
    with (tmp_path / "per_image.csv").open(newline="") as file:
        assert {row["seen"] for row in csv.DictReader(file)} == {"1"}
    assert f"the network has seen {metrics['count']} of these images" in done.stderr + done.stdout
    assert "so the scores are too good" in metrics["protocol"]


def test_its_folder_is_compared_as_its_evaluation(validated: tuple[Path, Done], tmp_path: Path) -> None:
    out, _ = validated
    copy = tmp_path / "copy"
    shutil.copytree(out / "evaluation", copy)
    succeeded(inside("compare", out, copy, "--out", tmp_path / "compared"))
    (found,) = json.loads((tmp_path / "compared" / "comparison.json").read_text())["comparisons"]
    assert found["difference"] == 0


def test_the_ensemble_of_the_folds_segments(validated: tuple[Path, Done], dataset: Path, tmp_path: Path) -> None:
    out, _ = validated
    assert inside("bundle", "verify", out / "ensemble").returncode == 0
    image = next((dataset.parent / "phantoms" / "images").iterdir())
    succeeded(inside("segment", out / "ensemble", image, "--out", tmp_path))
    assert list(tmp_path.glob("*_mask.png"))
