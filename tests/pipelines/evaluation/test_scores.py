from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import DiceMetric
from monai.transforms import CopyItemsd
from PIL import Image

from delineate.pipelines.core.errors import DelineateError, InputError, SkippedError
from delineate.pipelines.evaluation.metrics import PixelAccuracy
from delineate.pipelines.evaluation.scores import MaskWriter, ScoreWriter, end_with_refused
from delineate.pipelines.loading.datasets import StreamDataset

Item = dict[str, Any]


def item(name: str, pred: Sequence[Sequence[int]], label: Sequence[Sequence[int]], **fields: str) -> Item:
    """An image that the identity network segments as ``pred``."""
    image = MetaTensor(torch.tensor([pred], dtype=torch.float32), meta={"filename_or_obj": name})
    return {"image": image, "label": torch.tensor([label], dtype=torch.uint8), **fields}


HALF = item("half.png", [[1, 0, 0]], [[1, 1, 1]], group="p1")
PERFECT = item("perfect.png", [[1, 0], [0, 0]], [[1, 0], [0, 0]], group="p1")
NORMAL = item("normal.png", [[0, 0]], [[0, 0]], group="p2")
GHOST = item("ghost.png", [[0, 1]], [[0, 0]], group="p3")
ALL = [HALF, PERFECT, NORMAL, GHOST]


@pytest.fixture
def dataset_dir(tmp_path: Path) -> Path:
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [], "validation": [], "test": []}))
    return tmp_path


def evaluator(data: Any, *handlers: Any) -> SupervisedEvaluator:
    def metric(kind: Any) -> IgniteMetricHandler:
        return IgniteMetricHandler(kind, output_transform=from_engine(["pred", "label"]))

    return SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader(data, batch_size=1),
        torch.nn.Identity(),
        postprocessing=CopyItemsd("pred", names="probability"),
        key_val_metric={"mean_dice": metric(DiceMetric(ignore_empty=False))},
        additional_metrics={"pixel_accuracy": metric(PixelAccuracy())},
        val_handlers=list(handlers),
    )


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


# --- masks ---------------------------------------------------------------------------------------------------


def test_each_image_gets_a_mask_of_its_size(tmp_path: Path) -> None:
    data = [{**HALF, "name": "sub/half"}, {**PERFECT, "name": "perfect"}]
    evaluator(data, MaskWriter(tmp_path / "masks", probability=True)).run()
    found = {p.relative_to(tmp_path / "masks").as_posix(): np.array(Image.open(p)) for p in tmp_path.rglob("*.png")}
    assert found["sub/half_mask.png"].tolist() == [[255, 0, 0]]
    assert found["perfect_mask.png"].tolist() == [[255, 0], [0, 0]]
    assert found["perfect_probability.png"].tolist() == [[65535, 0], [0, 0]]
    assert len(found) == 4


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def written(data: Sequence[Item], folder: Path, refuse: Sequence[str] = ()) -> StreamDataset:
    """What a stock run of inference leaves of these items."""

    def read(one: Item) -> Item:
        if one["name"] in refuse:
            raise InputError(one["image"].meta["filename_or_obj"], "is empty (0 bytes)", "copy it again")
        return one

    stream = StreamDataset(data, read, lambda _: None)
    evaluator(stream, MaskWriter(folder, threshold=0.4, dataset=stream)).run()
    return stream


def test_masks_and_refusals_stand_in_one_table(tmp_path: Path) -> None:
    named = [{**one, "name": one["image"].meta["filename_or_obj"]} for one in (HALF, PERFECT, GHOST)]
    written(named, tmp_path, refuse=["half.png", "ghost.png"])
    assert [(Path(row["input"]).name, row["status"], row["mask"], row["threshold"]) for row in rows(tmp_path)] == [
        ("half.png", "refused", "", "0.4"),
        ("perfect.png", "segmented", "perfect.png_mask.png", "0.4"),
        ("ghost.png", "refused", "", "0.4"),
    ]


def test_where_all_is_refused_the_table_says_so_and_nothing_is_raised(tmp_path: Path) -> None:
    stream = written([{**HALF, "name": "half"}], tmp_path, refuse=["half"])
    assert [row["status"] for row in rows(tmp_path)] == ["refused"]
    with pytest.raises(SystemExit, match="1 input"):
        end_with_refused(stream)


def test_a_run_without_refusals_ends_well(tmp_path: Path) -> None:
    stream = written([{**HALF, "name": "half"}], tmp_path)
    stream.refused.append(SkippedError("a copy", "is a duplicate", "passed over"))
    end_with_refused(stream)


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    read: list[str] = []
    stream = StreamDataset([{**HALF, "name": "half"}], lambda one: read.append("x") or one)
    with pytest.raises(DelineateError, match="cannot be written"):
        evaluator(stream, MaskWriter(tmp_path / "out")).run()
    assert not read


def test_no_name_in_the_scores_is_a_formula_or_breaks_a_line(dataset_dir: Path) -> None:
    _, rows = score([item("=x\n\udcff.png", [[1]], [[1]], group="@a"), HALF], dataset_dir)
    assert rows[0]["image"] == "'=x\\n\\xff.png"
    assert rows[0]["group"] == "'@a"
