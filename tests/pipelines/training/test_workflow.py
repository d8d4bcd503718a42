from __future__ import annotations

import logging
from pathlib import Path

import pytest
from small_training import SMALL_TRAINING

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.training.workflow import train

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of every bundle that is run


def test_a_training_gives_the_folder_of_its_run(phantom_run: Path) -> None:
    assert (phantom_run / "models" / "model.pt").is_file()


def test_what_is_no_data_set_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"no datalist\.json"):
        train("skin_lesion", tmp_path, tmp_path / "run")
    assert not any(tmp_path.iterdir())


def test_a_training_from_python_says_each_thing_once_and_nothing_of_libraries(
    phantom_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "delineate"):
        train("skin_lesion", phantom_data, tmp_path / "run", network="ultra_light_unet", settings=SMALL_TRAINING)
    assert "logging" not in capsys.readouterr().out.lower()
    assert len(caplog.messages) == len(set(caplog.messages))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_epochs": 0}, "max_epochs is 0; set a whole number of 1 or more"),
        ({"image_size": [0, 0]}, r"^image_size is \[0, 0\]; set rows and columns"),
        ({"image_size": [5, 5]}, "this network needs 32 or more a side"),
        (
            {"optimizer::weight_decay": "much"},
            r"torch\.optim\.AdamW cannot be made of its settings \(params, ",
        ),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_and_leaves_no_run(
    phantom_data: Path, tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(DelineateError, match=reason) as refused:
        train("skin_lesion", phantom_data, tmp_path / "run", settings=SMALL_TRAINING | settings)
    assert "\n" not in str(refused.value)
    assert not any(tmp_path.iterdir())
