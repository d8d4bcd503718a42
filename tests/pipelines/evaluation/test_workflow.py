from __future__ import annotations

import json
from pathlib import Path

import pytest

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.evaluation.workflow import evaluate

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of every bundle that is run


def test_scores_come_back_as_they_are_written(phantom_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    scores = evaluate(phantom_run, phantom_data, tmp_path / "scores", split="validation")
    assert scores == json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert scores["split"] == "validation"
    assert 0 <= scores["mean_dice"]["value"] <= 1


def test_without_a_folder_for_scores_nothing_is_written(
    phantom_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(phantom_run.rglob("*"))
    assert evaluate(phantom_run, phantom_data)["count"] > 0
    assert sorted(phantom_run.rglob("*")) == before
    assert not any(tmp_path.iterdir())


def test_a_bundle_without_weights_is_refused_in_one_clear_line(phantom_data: Path) -> None:
    with pytest.raises(DelineateError, match="has no weights") as refused:
        evaluate("skin_lesion", phantom_data)
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
