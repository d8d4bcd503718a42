from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from delineate.pipelines.core.errors import DelineateError, UnknownNameError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.evaluation.evaluation import read_evaluation
from delineate.pipelines.evaluation.summary import summarise
from delineate.pipelines.evaluation.workflow import evaluate

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of every bundle that is run


def test_scores_come_back_as_they_are_written(phantom_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    scores = evaluate(phantom_run, phantom_data, tmp_path / "scores", split="validation")
    assert scores == json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert scores["split"] == "validation"
    assert 0 <= scores["mean_dice"]["value"] <= 1


def test_images_are_compared_with_those_of_the_training(phantom_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    scores = evaluate(phantom_run, phantom_data, tmp_path, split="validation", settings={"page": False})
    with (tmp_path / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["feature_distance"]) <= 1 for row in rows] == [row["familiar"] == "1" for row in rows]
    assert scores["familiar"] == {"count": len(rows), "unfamiliar": 0, "share": 0}
    assert summarise(read_evaluation(tmp_path))["familiar"] == scores["familiar"]


def test_without_a_folder_for_scores_nothing_is_written(
    phantom_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(phantom_run.rglob("*"))
    assert evaluate(phantom_run, phantom_data)["count"] > 0
    assert sorted(phantom_run.rglob("*")) == before
    assert not any(tmp_path.iterdir())


def test_a_bundle_without_weights_is_refused_in_one_clear_line(phantom_data: Path) -> None:
    with pytest.raises(DelineateError, match=r"no weights are shipped with nerve .* instead of nerve$") as refused:
        evaluate("nerve", phantom_data)
    assert "_mode_" not in str(refused.value)


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
    phantom_run: Path, phantom_data: Path, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(DelineateError, match=reason):
        evaluate(phantom_run, phantom_data, settings=settings)


def test_subgroups_limits_and_a_table_are_arguments(phantom_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    items = json.loads((phantom_data / "datalist.json").read_text())["test"]
    table = tmp_path / "sites.csv"
    table.write_text("image,site\n" + "".join(f"{Path(one['image']).stem},Oslo\n" for one in items))
    out = tmp_path / "scores"
    scores = evaluate(
        phantom_run,
        phantom_data,
        out,
        subgroups="site,size",
        table=table,
        failures={"mean_dice": 1.01},
        tolerance_mm=3,
        settings={"page": False},
    )
    assert scores["subgroups"]["site"] == {"Oslo": {"count": len(items), "groups": len(items)}}
    assert scores["failures"][0]["count"] == len(items)
    with (out / "per_image.csv").open(newline="") as file:
        assert {row["site"] for row in csv.DictReader(file)} == {"Oslo"}


def test_all_labelled_images_are_scored_and_those_that_the_run_has_seen_are_counted(
    phantom_run: Path, phantom_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lists = json.loads((phantom_data / "datalist.json").read_text())
    seen = len(lists["training"]) + len(lists["validation"])
    scores = evaluate(phantom_run, phantom_data, tmp_path, split="all", settings={"page": False})
    assert scores["split"] == json.loads((tmp_path / "metrics.json").read_text())["split"] == "all"
    assert scores["count"] == seen + len(lists["test"])
    assert "in all splits were scored on " in scores["protocol"]
    assert f" The network has seen {seen} of them in its training, so the scores are too good." in scores["protocol"]
    assert f"the network has seen {seen} of these images in its training, so the scores are too good" in caplog.text


def test_images_that_the_run_has_seen_are_known_in_another_format_and_marked_in_the_table(
    phantom_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    lists = json.loads((phantom_data / "datalist.json").read_text())
    for split in ("training", "test"):
        for entry in lists[split][:2]:
            image, mask = Path(entry["image"]), Path(entry["label"])
            for path, folder in ((image, "images"), (mask, "masks")):
                (tmp_path / folder).mkdir(exist_ok=True)
                pixels = Image.open(phantom_data / path)
                pixels.save(tmp_path / folder / f"{split}_{image.stem}.tif")
    index_dataset(tmp_path, out=tmp_path / "data", near_duplicates=False)
    evaluate(phantom_run, tmp_path / "data", tmp_path / "out", split="all", settings={"page": False})
    assert json.loads((tmp_path / "out/metrics.json").read_text())["seen_in_training"] == 2
    with (tmp_path / "out/per_image.csv").open(newline="") as file:
        marked = {Path(row["image"]).name.split("_")[0]: row["seen"] for row in csv.DictReader(file)}
    assert marked == {"training": "1", "test": "0"}


def test_a_limit_of_an_unknown_score_is_refused_before_anything_is_scored(
    phantom_run: Path, phantom_data: Path
) -> None:
    with pytest.raises(UnknownNameError, match="'mean_dice'"):
        evaluate(phantom_run, phantom_data, failures={"mean_dise": 0.7})


def test_a_bundle_of_before_these_settings_has_all_scores_files_and_arguments(
    phantom_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delineate.pipelines.evaluation.evaluation.write_page", lambda *_: None)
    old = Path(shutil.copytree(phantom_run, tmp_path / "old"))
    path = old / "configs/evaluate.yaml"
    config = yaml.safe_load(path.read_text())
    for name in ("subgroups", "table", "failures", "tolerance_mm"):
        del config[name]
    (writer,) = (one for one in config["handlers"] if one["_target_"].endswith("ScoreWriter"))
    first = ("_target_", "output_dir", "dataset_dir", "split", "dataset", "structures")
    config["handlers"] = [{name: writer[name] for name in first}]
    metric = {"_target_": "delineate.pipelines.evaluation.PixelAccuracy"}
    handler = json.loads(json.dumps(config["key_metric"]["mean_dice"]))
    handler["metric_fn"]["metric"] = metric
    config["additional_metrics"] = {"pixel_accuracy": handler}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    scores = evaluate(old, phantom_data, tmp_path / "scores", failures={"mean_iou": 0.9})
    now = evaluate(phantom_run, phantom_data, failures={"mean_iou": 0.9})
    for name in ("mean_dice", "hd95_pixels", "pixel_accuracy"):
        assert scores[name]["value"] == pytest.approx(now[name]["value"])  # type: ignore[literal-required]
    assert [one["metric"] for one in scores["failures"]] == ["mean_iou"]
    assert {"metrics.json", "per_image.csv", "report.txt"} <= {file.name for file in (tmp_path / "scores").iterdir()}
    assert json.loads((tmp_path / "scores/metrics.json").read_text())["bundle"]["name"] == "old"


@pytest.mark.parametrize("place", [".", "models", "configs"])
def test_a_run_is_not_written_into(place: str, phantom_run: Path, phantom_data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in phantom_run.rglob("*")}
    with pytest.raises(DelineateError, match=f"write into a folder of its own, e.g. {phantom_run / 'evaluation'}"):
        evaluate(phantom_run, phantom_data, phantom_run / place)
    assert {path: path.stat().st_mtime_ns for path in phantom_run.rglob("*")} == before
