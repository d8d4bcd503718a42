from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.comparison.beforehand import count_tests, refuse_unknown_metrics, warn_of_few
from delineate.pipelines.core.errors import UnknownNameError


@pytest.mark.parametrize(
    ("bundle", "metric"),
    [("skin_lesion", "mean_dice"), ("skin_lesion", "nsd_mm"), ("chest_xray", "mean_iou_left_lung")],
)
def test_what_an_evaluation_will_have_is_known_before(bundle: str, metric: str) -> None:
    refuse_unknown_metrics("a", shipped_bundles()[bundle], ["mean_dice", metric])


@pytest.mark.parametrize(
    ("bundle", "metric"),
    [("skin_lesion", "mean_dise"), ("skin_lesion", "mean_dice_heart"), ("chest_xray", "mean_dice_liver")],
)
def test_what_it_will_not_have_is_refused_before(bundle: str, metric: str) -> None:
    with pytest.raises(UnknownNameError, match=f"metric of a is called '{metric}'"):
        refuse_unknown_metrics("a", shipped_bundles()[bundle], ["mean_dice", metric])


def data_of(folder: Path, **counts: int) -> Path:
    """A data list of two images a group."""
    lists: dict[str, list[dict[str, Any]]] = {
        split: [
            {"image": f"{split}{index}.png", "label": "x.png", "group": f"{split}{index // 2}", "fold": index // 2 % 2}
            for index in range(2 * count)
        ]
        for split, count in counts.items()
    }
    for part in ("validation", "test"):
        for item in lists.get(part, ()):
            del item["fold"]
    (folder / "datalist.json").write_text(json.dumps(lists))
    return folder


@pytest.mark.parametrize(
    ("split", "fold", "tests", "warned"),
    [
        (None, None, 1, True),
        ("validation", None, 1, False),
        ("validation", None, 3, True),
        (None, 0, 1, False),
        (None, 1, 2, True),
        ("all", None, 3, False),
    ],
    ids=["5 of 6", "6 of 6", "6 of 7, as there are 3", "a fold of 6", "a fold of 6, as there are 2 tests", "all 23"],
)
def test_too_few_groups_to_show_anything_are_told(
    split: str | None, fold: int | None, tests: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_of(tmp_path, training=12, test=5, validation=0 if fold is not None else 6)
    warn_of_few(data, split, fold, tests)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warned
    assert not warned or "no difference can be shown on the split" in caplog.text


def test_the_warning_says_how_many_there_are_and_how_many_it_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_few(data_of(tmp_path, test=1), None, None, count_tests(3, ["mean_dice", "mean_iou"]))
    assert "it has 1 group of images" in caplog.text
    assert "it takes 8 or more to show one in one of 6 tests" in caplog.text
