from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.datasets.layouts import isic

ISIC_NAMES = {
    "2016": ("ISBI2016_ISIC_Part1_{}_Data", "ISBI2016_ISIC_Part1_{}_GroundTruth", "_Segmentation.png"),
    "2017": ("ISIC-2017_{}_Data", "ISIC-2017_{}_Part1_GroundTruth", "_segmentation.png"),
    "2018": ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth", "_segmentation.png"),
}


@pytest.fixture
def isic_part(touch: Any) -> Callable[..., Path]:
    def make(root: Path, year: str, part: str, *ids: str) -> Path:
        images, masks, ending = ISIC_NAMES[year]
        for name in ids:
            touch(root, f"{images.format(part)}/{name}.jpg", f"{masks.format(part)}/{name}{ending}")
        return root

    return make


@pytest.mark.parametrize("year", ISIC_NAMES)
def test_isic_pairs_images_and_masks_of_each_year(tmp_path: Path, year: str, isic_part: Any) -> None:
    found = isic(isic_part(tmp_path, year, "Training", "ISIC_0000001", "ISIC_0000002"))
    assert [(item.file.stem, item.label[0].stem.lower(), item.group) for item in found[0]] == [
        (name, f"{name}_segmentation".lower(), name) for name in ("ISIC_0000001", "ISIC_0000002")
    ]
    assert not found[1]


@pytest.mark.parametrize(("year", "test"), [("2017", "Test_v2"), ("2018", "Test")])
def test_isic_keeps_the_official_split_where_it_is_complete(
    tmp_path: Path, year: str, test: str, isic_part: Any
) -> None:
    for number, part in enumerate(("Training", "Validation", test)):
        isic_part(tmp_path, year, part, f"ISIC_000000{number}")
    assert {item.group: item.official for item in isic(tmp_path)[0]} == {
        "ISIC_0000000": "training",
        "ISIC_0000001": "validation",
        "ISIC_0000002": "test",
    }


def test_isic_pools_an_incomplete_official_split(tmp_path: Path, isic_part: Any) -> None:
    isic_part(tmp_path, "2018", "Training", "ISIC_0000001")
    isic_part(tmp_path, "2018", "Validation", "ISIC_0000002")
    assert [item.official for item in isic(tmp_path)[0]] == [None, None]


def test_isic_pools_several_years_and_gives_one_id_one_group(tmp_path: Path, isic_part: Any) -> None:
    for part in ("Training", "Validation", "Test"):
        isic_part(tmp_path, "2018", part, f"ISIC_{len(part):07}")
    isic_part(tmp_path, "2017", "Validation", f"ISIC_{len('Training'):07}")
    items = isic(tmp_path)[0]
    assert {item.official for item in items} == {None}
    assert sorted(item.group for item in items) == [
        "ISIC_0000004",
        "ISIC_0000008",
        "ISIC_0000008",
        "ISIC_0000010",
    ]


def test_isic_ignores_superpixels_and_notes(tmp_path: Path, touch: Any, isic_part: Any, pairs: Any) -> None:
    isic_part(tmp_path, "2017", "Training", "ISIC_0000001")
    folder = "ISIC-2017_Training_Data"
    touch(tmp_path, f"{folder}/ISIC_0000001_superpixels.png", f"{folder}/ISIC-2017_Training_Data_metadata.csv")
    found = isic(tmp_path)
    assert pairs(found) == [("ISIC_0000001.jpg", "ISIC_0000001_segmentation.png")]
    assert not found[1]


@pytest.mark.parametrize("pattern", [0, 1])
def test_isic_refuses_a_folder_whose_counterpart_is_missing(tmp_path: Path, pattern: int, refusals: Any) -> None:
    folder = ISIC_NAMES["2018"][pattern].format("Test")
    (tmp_path / folder).mkdir()
    missing = ISIC_NAMES["2018"][1 - pattern].format("Test")
    assert refusals(isic(tmp_path)) == {folder: f"{missing} is missing"}
