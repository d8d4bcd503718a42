"""Two structures from the data list to the scores: overlapping and exclusive, partly annotated."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from structured_pictures import STRUCTURES, make_structures

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.evaluation.workflow import Scores, evaluate
from delineate.pipelines.training.workflow import train

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of every bundle that is run
SETTINGS: dict[str, Any] = {
    "structures": STRUCTURES, "image_size": [32, 32], "batch_size": 2, "max_epochs": 20, "val_interval": 20,
    "learning_rate": 0.02, "upright": True, "flip_left_right": False, "patience": 0,
    "network_def::features": [16, 32, 64],
}  # fmt: skip


def trained(folder: Path, exclusive: bool, **data: Any) -> tuple[Path, Scores]:
    """A run and its scores on the test images."""
    dataset = make_structures(folder / "data", exclusive, **data)
    settings = SETTINGS | {"exclusive": exclusive, "out_channels": 3 if exclusive else 2}
    run = train("breast_lesion", dataset, folder / "run", network="ultra_light_unet", settings=settings)
    return run, evaluate(run, dataset, folder / "scores", settings={"page": False})


def test_a_validation_in_which_nothing_is_annotated_is_refused_in_one_line(tmp_path: Path) -> None:
    dataset = make_structures(tmp_path / "data", missing=[(i, one["name"]) for i in (8, 9, 10) for one in STRUCTURES])
    settings = SETTINGS | {"out_channels": 2, "max_epochs": 1, "val_interval": 1}
    with pytest.raises(DelineateError, match="no structure is annotated in any image, so nothing can be scored"):
        train("breast_lesion", dataset, tmp_path / "run", network="ultra_light_unet", settings=settings)
    assert not (tmp_path / "run").exists()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("exclusive", [False, True], ids=["overlapping", "exclusive"])
def test_structures_are_learned_although_some_are_not_annotated(tmp_path: Path, exclusive: bool) -> None:
    missing = [(0, "heart"), (1, "left lung"), (2, "heart"), (2, "left lung"), (8, "heart"), (11, "left lung")]
    run, scores = trained(tmp_path, exclusive, missing=missing, absent=[3, 12])
    heart, lung = (scores["structures"][name] for name in ("heart", "left lung"))
    assert (heart["count"], lung["count"], scores["count"]) == (3, 2, 3)
    assert heart["mean_dice"]["value"] > 0.5
    assert scores["mean_dice"]["value"] == pytest.approx((heart["mean_dice"]["value"] + lung["mean_dice"]["value"]) / 2)
    history = rows(run / "logs" / "history.csv")[-1]
    each = [float(history[f"val_mean_dice_{name}"]) for name in ("heart", "left_lung")]
    assert float(history["val_mean_dice"]) == pytest.approx(sum(each) / 2, abs=1e-6)
    first = rows(tmp_path / "scores" / "per_image.csv")[0]
    assert first["mean_dice"] == first["mean_dice_heart"]
    assert first["mean_dice_left_lung"] == first["reference_pixels_left_lung"] == ""
