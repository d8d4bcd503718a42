from __future__ import annotations

from typing import Any

import pytest

from delineate.pipelines.cli.evaluate import _show

DICE: dict[str, Any] = {"mean_dice": {"value": 0.9, "ci95": [0.8, 0.95]}}
PARTS = {"heart": {"count": 7, **DICE}, "lung": {"count": 1, "mean_dice": {"value": 0.5, "ci95": None}}}


def shown(capsys: pytest.CaptureFixture[str], **more: Any) -> list[list[str]]:
    _show({"split": "test", "count": 7, "versions": {"torch": "2"}, **DICE, **more})
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def test_one_structure_is_a_line_a_metric(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == [["score", "mean", "95 % interval"], ["mean_dice", "0.9000", "0.8000 - 0.9500"]]


def test_several_structures_stand_below_their_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, structures=PARTS) == [
        ["structure", "images", "score", "mean", "95 % interval"],
        ["mean over structures", "7", "mean_dice", "0.9000", "0.8000 - 0.9500"],
        ["heart", "7", "mean_dice", "0.9000", "0.8000 - 0.9500"],
        ["lung", "1", "mean_dice", "0.5000", "unknown: one group"],
    ]


def test_what_is_undefined_reads_so(capsys: pytest.CaptureFixture[str]) -> None:
    distance = {"value": None, "ci95": None, "undefined": 7}
    assert shown(capsys, hausdorff=distance)[-1] == ["hausdorff", "undefined", "undefined"]
