from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.metrics import ConfusionMatrixMetric, DiceMetric, HausdorffDistanceMetric, MeanIoU
from tiny_evaluation import ALL, GHOST, HALF, NORMAL, Item, evaluator, item, several

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.evaluation.per_structure import PerStructure
from delineate.pipelines.evaluation.scores import ScoreWriter
from delineate.pipelines.loading.datasets import StreamDataset


@pytest.fixture(autouse=True)
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has tests of its own, and takes seconds."""
    monkeypatch.setattr("delineate.pipelines.evaluation.evaluation.write_page", lambda *_: None)


@pytest.fixture
def dataset_dir(tmp_path: Path) -> Path:
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [], "validation": [], "test": []}))
    return tmp_path


def score(
    data: Sequence[Item],
    dataset_dir: Path,
    refuse: Sequence[str] = (),
    metrics: Mapping[str, Any] | None = None,
    structures: Sequence[str] | None = None,
) -> tuple[Item, list[dict[str, str]]]:
    def read(one: Item) -> Item:
        if one["image"].meta["filename_or_obj"] in refuse:
            raise InputError(one["image"].meta["filename_or_obj"], "is empty (0 bytes)", "copy it again")
        return one

    stream = StreamDataset(data, read, lambda _: None)
    named = None if structures is None else [{"name": name} for name in structures]
    writer = ScoreWriter(dataset_dir / "out", dataset_dir, "test", stream, named)
    evaluator(stream, writer, metrics=metrics).run()
    text = (dataset_dir / "out/metrics.json").read_text()
    report: Item = json.loads(text, parse_constant=lambda found: pytest.fail(f"{found} is no JSON"))
    with (dataset_dir / "out/per_image.csv").open(newline="") as file:
        return report, list(csv.DictReader(file))


def test_drafts_are_marked_counted_and_warned_of(dataset_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    report, rows = score([HALF | {"draft": True}, NORMAL], dataset_dir)
    assert [row["draft"] for row in rows] == ["1", "0"]
    assert report["drafts"] == 1
    assert "of 1 image the mask is as Delineate drew it, so the scores may be too good" in caplog.messages


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
    with pytest.raises(DelineateError, match="no image of the split test could be scored"):
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


# --- any metric of MONAI -------------------------------------------------------------------------------------


def test_a_metric_of_no_registry_is_a_column_and_an_entry(dataset_dir: Path) -> None:
    report, rows = score(ALL, dataset_dir, metrics={"plain_iou": MeanIoU(ignore_empty=False)})
    assert [float(row["plain_iou"]) for row in rows] == pytest.approx([1 / 3, 1, 1, 0])
    assert report["plain_iou"]["value"] == pytest.approx(7 / 12)
    assert "plain_iou: as its documentation says" in report["empty_masks"]


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy", "ignore:the (ground truth|prediction) of class")
@pytest.mark.parametrize("wrap", [PerStructure, lambda metric: metric], ids=["wrapped", "plain"])
def test_values_that_are_not_finite_poison_nothing(dataset_dir: Path, wrap: Any) -> None:
    """MONAI's Hausdorff distance of an empty mask is NaN or infinite."""
    report, rows = score(ALL, dataset_dir, metrics={"hausdorff": wrap(HausdorffDistanceMetric())})
    assert [row["hausdorff"] for row in rows] == ["2.0", "0.0", "", ""]
    assert (report["hausdorff"]["count"], report["hausdorff"]["undefined"]) == (2, 2)
    assert (report["hausdorff"]["value"], report["hausdorff"]["ci95"]) == (1.0, None)  # the two are of one patient


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy", "ignore:the (ground truth|prediction) of class")
def test_a_metric_without_any_value_has_no_mean(dataset_dir: Path) -> None:
    report, _ = score([NORMAL, GHOST], dataset_dir, metrics={"hausdorff": PerStructure(HausdorffDistanceMetric())})
    assert (report["hausdorff"]["value"], report["hausdorff"]["ci95"]) == (None, None)
    assert (report["hausdorff"]["count"], report["hausdorff"]["undefined"]) == (0, 2)


@pytest.mark.filterwarnings("ignore:metric handler can only record")  # MONAI's, of several
@pytest.mark.parametrize("names", ["sensitivity", ["sensitivity", "precision"]], ids=str)
def test_a_metric_that_keeps_no_scores_is_refused_by_name(dataset_dir: Path, names: Any) -> None:
    with pytest.raises(DelineateError, match=r"the metric confusion gives \(1, 4\) values an .*; wrap it in"):
        score(ALL, dataset_dir, metrics={"confusion": ConfusionMatrixMetric(metric_name=names)})


# --- several structures --------------------------------------------------------------------------------------

DRAWN, NONE, MISSING = [[1, 0, 0]], [[0, 0, 0]], [[255, 255, 255]]
BOTH = several("both.png", [DRAWN, [[1, 1, 0]]], [DRAWN, [[1, 1, 1]]], group="p1")
ONLY_HEART = several("heart.png", [NONE, DRAWN], [DRAWN, MISSING], group="p2")
ONLY_LUNG = several("lung.png", [DRAWN, [[0, 1, 1]]], [MISSING, [[0, 1, 1]]], group="p3")
PARTLY = [BOTH, ONLY_HEART, ONLY_LUNG]
NAMES = ["heart", "left lung"]


def test_each_structure_has_its_scores_and_they_have_a_mean(dataset_dir: Path) -> None:
    report, _ = score(PARTLY, dataset_dir, structures=NAMES)
    heart, lung = (report["structures"][name] for name in NAMES)
    assert (heart["count"], lung["count"]) == (2, 2)
    assert heart["mean_dice"]["value"] == 0.5
    assert lung["mean_dice"]["value"] == pytest.approx(0.9)
    assert report["mean_dice"]["value"] == pytest.approx(0.7)
    assert "undefined" not in heart["mean_dice"]
    low, high = report["mean_dice"]["ci95"]
    assert low <= 0.7 <= high


def test_an_image_has_a_column_of_each_structure_empty_where_it_is_not_annotated(dataset_dir: Path) -> None:
    _, rows = score(PARTLY, dataset_dir, structures=NAMES)
    columns = ("mean_dice", "mean_dice_heart", "mean_dice_left_lung")
    assert [[row[name] for name in columns] for row in rows][1:] == [["0.0", "0.0", ""], ["1.0", "", "1.0"]]
    assert [float(rows[0][name]) for name in columns] == pytest.approx([0.9, 1.0, 0.8])
    assert [row["reference_pixels_heart"] for row in rows] == ["1", "1", ""]
    assert [row["reference_pixels_left_lung"] for row in rows] == ["3", "", "2"]
    assert [row["predicted_pixels_left_lung"] for row in rows] == ["2", "1", "2"]


def test_a_metric_that_knows_no_annotations_counts_annotated_images_alone(dataset_dir: Path) -> None:
    report, _ = score(PARTLY, dataset_dir, metrics={"plain": DiceMetric(ignore_empty=False)}, structures=NAMES)
    assert {**report["structures"]["heart"]}["plain"] == report["structures"]["heart"]["mean_dice"]
    assert report["plain"] == report["mean_dice"]


def test_structures_without_names_are_numbered(dataset_dir: Path) -> None:
    report, rows = score(PARTLY, dataset_dir)
    assert list(report["structures"]) == ["1", "2"]
    assert rows[0]["mean_dice_1"] == "1.0"


def test_a_structure_that_is_nowhere_annotated_is_said_to_be_undefined(dataset_dir: Path) -> None:
    report, _ = score([ONLY_HEART, ONLY_HEART], dataset_dir, structures=NAMES)
    assert report["structures"]["left lung"]["count"] == 0
    lung = report["structures"]["left lung"]["mean_dice"]
    assert (lung["value"], lung["ci95"], lung["count"]) == (None, None, 0)
    assert report["mean_dice"]["value"] == 0


def test_one_structure_is_written_as_before_it_had_a_name(dataset_dir: Path) -> None:
    named, rows = score(ALL, dataset_dir, structures=["lesion"])
    plain, plain_rows = score(ALL, dataset_dir)
    assert (named, rows) == (plain, plain_rows)
    assert "structures" not in named


def test_the_structures_that_were_nowhere_found_are_named(dataset_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    empty = several("a.png", [DRAWN, NONE, NONE], [DRAWN, DRAWN, NONE])
    score([empty, empty], dataset_dir, structures=["heart", "left lung", "clavicle"])
    assert caplog.messages[-1].startswith("no left lung was predicted in any image: train longer ")


def test_other_structures_than_the_bundle_names_are_refused(dataset_dir: Path) -> None:
    with pytest.raises(DelineateError, match="the bundle names 3 structures, its masks are of 2"):
        score(PARTLY, dataset_dir, structures=["heart", "lung", "clavicle"])


# --- what is kept of masks and probabilities -----------------------------------------------------------------


def test_the_twelve_worst_images_are_kept_the_worst_first(dataset_dir: Path) -> None:
    label = [[1] * 20]
    data = [item(f"{hits}.png", [[1] * hits + [0] * (20 - hits)], label) for hits in (*range(19, 0, -1), 20)]
    report, rows = score(data, dataset_dir)
    assert [one["image"] for one in report["worst"]] == [f"{hits}.png" for hits in range(1, 13)]
    assert [rows[one["row"]]["image"] for one in report["worst"]] == [one["image"] for one in report["worst"]]


def test_probabilities_of_annotated_structures_are_counted(dataset_dir: Path) -> None:
    report, _ = score(PARTLY, dataset_dir, structures=NAMES)
    for name in NAMES:  # each is annotated in two images of three pixels
        assert np.sum(report["structures"][name]["curve"]["counts"]) == 6
    assert report["structures"]["heart"]["curve"]["counts"][0][255] == 1  # of two, one was predicted


def test_a_metric_of_the_evaluator_goes_before_ours_of_its_name(dataset_dir: Path) -> None:
    report, rows = score(ALL, dataset_dir, metrics={"recall": DiceMetric(ignore_empty=False)})
    assert report["recall"]["value"] == report["mean_dice"]["value"]
    assert [row["recall"] for row in rows] == [row["mean_dice"] for row in rows]


def test_names_of_groups_that_no_table_can_hold_are_written_as_escapes(dataset_dir: Path) -> None:
    odd = item("odd.png", [[1]], [[1]], group="a\rb", **{"class": "\udcff"})
    report, rows = score([HALF, odd], dataset_dir)
    assert (rows[1]["group"], rows[1]["class"]) == (r"a\rb", r"\xff")
    assert report["groups"] == 2
