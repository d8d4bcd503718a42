from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.cli.scores import parse_failures, show_scores
from delineate.pipelines.core.errors import DelineateError

SCORE = {"value": 0.865, "ci95": [0.845, 0.894], "count": 5}
NONE = {"value": None, "ci95": None, "count": 0}
METRICS: dict[str, Any] = {
    "split": "test",
    "count": 5,
    "mean_dice": SCORE,
    "mean_iou": SCORE,
    "hd95_percent": SCORE,
    "hd95_mm": SCORE | {"count": 3},
    "nsd_2_percent": SCORE,
    "nsd_mm": NONE,
    "pixel_accuracy": SCORE,
    "failures": [{"metric": "mean_dice", "below": 0.7, "count": 1, "share": 0.2, "ci95": [0.0, 0.6]}],
    "images": {"found": 2, "missed": 1, "false_alarm": 1, "rightly_empty": 1, "found_without_overlap": 0},
}


def test_the_terminal_shows_few_scores_failures_and_empties(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.txt").touch()
    show_scores(METRICS, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["score\tmean\t95 % interval", "mean_dice\t0.8650\t0.8450 - 0.8940"]
    shown = [line.split("\t")[0] for line in lines[1:5]]
    assert shown == ["mean_dice", "mean_iou", "hd95_percent", "nsd_2_percent"]  # mm is known of three images alone
    assert lines[5:] == [
        "Mean Dice below 0.7: 1 image, 20.0 % (0.0 to 60.0 %)",
        "found: 2; missed (empty prediction): 1; false alarms (empty reference): 1; rightly empty: 1",
        f"written: {tmp_path / 'report.txt'}",
    ]


def test_several_structures_stand_below_their_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = {name: METRICS[name] for name in ("split", "count", "failures", "images", "mean_dice")}
    lung = {"mean_dice": {"value": 0.5, "ci95": None, "count": 1}}
    show_scores(alone | {"structures": {"heart": {"mean_dice": SCORE}, "lung": lung}}, tmp_path)
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()[:4]] == [
        ["structure", "images", "score", "mean", "95 % interval"],
        ["mean over structures", "5", "mean_dice", "0.8650", "0.8450 - 0.8940"],
        ["heart", "5", "mean_dice", "0.8650", "0.8450 - 0.8940"],
        ["lung", "1", "mean_dice", "0.5000", "no interval: only one image or patient"],
    ]


def test_a_metric_of_the_bundles_own_is_shown_and_where_it_is_undefined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_scores(METRICS | {"hausdorff": NONE | {"undefined": 5}}, tmp_path)
    assert "hausdorff\tundefined\tundefined" in capsys.readouterr().out.splitlines()


def test_limits_are_read_as_numbers() -> None:
    assert parse_failures(["mean_dice=0.8", "hd95_mm=10"]) == {"mean_dice": 0.8, "hd95_mm": 10.0}
    assert parse_failures(None) is None


@pytest.mark.parametrize("limit", ["mean_dice", "mean_dice=low", "=1=2"])
def test_a_limit_of_another_form_is_refused(limit: str) -> None:
    with pytest.raises(DelineateError, match="write SCORE=LIMIT"):
        parse_failures([limit])
