"""A cross-validation by whole processes: killed in the middle of a fold, and gone on with by the same command."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
from processes import Done, delineate, inside, stop_when, succeeded

pytestmark = pytest.mark.slow
COMMAND = ("cross-validate", "skin_lesion", "--folds", "2", "--network", "ultra_light_unet", "--set", "max_epochs=3",
           "--set", "image_size=[64,64]", "--set", "batch_size=4", "--out", "out")  # fmt: skip


@pytest.fixture(scope="module")
def validated(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    folder = tmp_path_factory.mktemp("cross")
    state = folder / "out" / "fold_1" / "run" / "checkpoints" / "last.pt"
    command = (*COMMAND, "--data", dataset)
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


def test_what_was_killed_went_on(validated: tuple[Path, Done]) -> None:
    out, done = validated
    assert "fold 0, seed 0" not in done.stdout
    assert "resumed from" in done.stdout
    with (out / "fold_1" / "run" / "logs" / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_the_ensemble_of_the_folds_segments(validated: tuple[Path, Done], dataset: Path, tmp_path: Path) -> None:
    out, _ = validated
    assert inside("bundle", "verify", out / "ensemble").returncode == 0
    image = next((dataset.parent / "phantoms" / "images").iterdir())
    succeeded(inside("segment", out / "ensemble", image, "--out", tmp_path))
    assert list(tmp_path.glob("*_mask.png"))
