from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_evaluation import ALL, GHOST, HALF, NORMAL, Item, evaluator, item

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.evaluation.scores import ScoreWriter
from delineate.pipelines.loading.datasets import StreamDataset


@pytest.fixture
def dataset_dir(tmp_path: Path) -> Path:
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [], "validation": [], "test": []}))
    return tmp_path


def score(data: Sequence[Item], dataset_dir: Path, refuse: Sequence[str] = ()) -> tuple[Item, list[dict[str, str]]]:
    def read(one: Item) -> Item:
        if one["image"].meta["filename_or_obj"] in refuse:
            raise InputError(one["image"].meta["filename_or_obj"], "is empty (0 bytes)", "copy it again")
        return one

    stream = StreamDataset(data, read, lambda _: None)
    evaluator(stream, ScoreWriter(dataset_dir / "out", dataset_dir, "test", stream)).run()
    metrics: Item = json.loads((dataset_dir / "out/metrics.json").read_text())
    with (dataset_dir / "out/per_image.csv").open(newline="") as file:
        return metrics, list(csv.DictReader(file))


def test_each_image_is_a_row_in_the_order_scored(dataset_dir: Path) -> None:
    _, rows = score(ALL, dataset_dir)
    assert [(row["image"], float(row["mean_dice"])) for row in rows] == [
        ("half.png", 0.5),
        ("perfect.png", 1.0),
        ("normal.png", 1.0),
        ("ghost.png", 0.0),
    ]
    assert [(row["reference_pixels"], row["predicted_pixels"], row["group"]) for row in rows] == [
        ("3", "1", "p1"),
        ("1", "1", "p1"),
        ("0", "0", "p2"),
        ("0", "1", "p3"),
    ]


def test_an_evaluation_in_which_all_predictions_are_empty_warns(
    dataset_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = [item(f"{name}.png", [[0, 0]], [[1, 0]]) for name in "ab"]
    score([*nothing, NORMAL], dataset_dir)
    assert caplog.messages[-1].startswith("no foreground was predicted in any image: train longer ")


@pytest.mark.parametrize("data", [[NORMAL], [HALF, NORMAL]], ids=["nothing to find", "one image with foreground"])
def test_an_evaluation_with_empty_predictions_where_they_belong_does_not_warn(
    dataset_dir: Path, caplog: pytest.LogCaptureFixture, data: list[Item]
) -> None:
    score(data, dataset_dir)
    assert not [record for record in caplog.records if "no foreground" in record.message]


def test_the_mean_is_that_of_the_rows(dataset_dir: Path) -> None:
    metrics, rows = score(ALL, dataset_dir)
    for name in ("mean_dice", "pixel_accuracy"):
        assert metrics[name]["value"] == pytest.approx(np.mean([float(row[name]) for row in rows]))
        low, high = metrics[name]["ci95"]
        assert 0 <= low < metrics[name]["value"] < high <= 1


def test_the_report_says_what_was_scored_and_how(dataset_dir: Path) -> None:
    metrics, _ = score(ALL, dataset_dir)
    assert (metrics["split"], metrics["count"], metrics["groups"], metrics["refused"]) == ("test", 4, 3, [])
    assert "scores 1" in metrics["empty_masks"]
    assert {"versions", "commit", "data_hash", "interval", "grid"} <= metrics.keys()


def test_what_was_refused_is_named_and_not_counted(dataset_dir: Path) -> None:
    metrics, rows = score(ALL, dataset_dir, refuse=["perfect.png"])
    assert (metrics["count"], len(rows)) == (3, 3)
    assert metrics["refused"] == ["perfect.png: is empty (0 bytes); copy it again"]
    assert metrics["mean_dice"]["value"] == pytest.approx(0.5)


def test_images_without_group_are_groups_of_their_own(dataset_dir: Path) -> None:
    alone = [{key: value for key, value in one.items() if key != "group"} for one in ALL]
    metrics, rows = score(alone, dataset_dir)
    assert metrics["groups"] == 4
    assert "group" not in rows[0]


def test_the_class_of_an_image_is_kept(dataset_dir: Path) -> None:
    _, rows = score([{**HALF, "class": "benign"}, {**GHOST, "class": "normal"}], dataset_dir)
    assert [row["class"] for row in rows] == ["benign", "normal"]


def test_nothing_to_score_is_an_error_not_a_perfect_score(dataset_dir: Path) -> None:
    with pytest.raises(DelineateError, match="no image of the split 'test' could be scored"):
        score([HALF], dataset_dir, refuse=["half.png"])
    assert not (dataset_dir / "out").exists()


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("out of memory")])
def test_an_error_in_the_network_is_not_swallowed(dataset_dir: Path, error: Exception) -> None:
    def fail(*_: Any) -> Any:
        raise error

    stream = StreamDataset([HALF], lambda one: one)
    engine = evaluator(stream, ScoreWriter(dataset_dir / "out", dataset_dir, "test", stream))
    engine.network.register_forward_hook(fail)
    with pytest.raises(type(error), match=str(error)):
        engine.run()


def test_a_second_evaluation_starts_anew(dataset_dir: Path) -> None:
    stream = StreamDataset([HALF, GHOST], lambda one: one)
    engine = evaluator(stream, ScoreWriter(dataset_dir / "out", dataset_dir, "test", stream))
    for _ in range(2):
        engine.run()
    assert json.loads((dataset_dir / "out/metrics.json").read_text())["count"] == 2


def test_no_name_in_the_scores_is_a_formula_or_breaks_a_line(dataset_dir: Path) -> None:
    _, rows = score([item("=x\n\udcff.png", [[1]], [[1]], group="@a"), HALF], dataset_dir)
    assert rows[0]["image"] == "'=x\\n\\xff.png"
    assert rows[0]["group"] == "'@a"
