from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.core.errors import NotedError
from delineate.pipelines.datasets.layouts import detect, kvasir


def test_each_image_is_its_own_group_and_that_is_told(tmp_path: Path, touch: Any, pairs: Any) -> None:
    found = kvasir(touch(tmp_path, *(f"{folder}/{i}.jpg" for folder in ("images", "masks") for i in "12")))
    assert pairs(found) == [("1.jpg", "1.jpg"), ("2.jpg", "2.jpg")]
    assert [item.group for item in found[0]] == ["1", "2"]
    (remark,) = found[1]
    assert isinstance(remark, NotedError)
    assert "does not say which frames are of one patient" in remark.reason


@pytest.mark.parametrize(
    ("folder", "layout"), [("Kvasir-SEG", "kvasir"), ("kvasir_seg (1)", "kvasir"), ("x", "paired")]
)
def test_other_names_are_known_by_the_folder_alone(tmp_path: Path, touch: Any, folder: str, layout: str) -> None:
    assert detect(touch(tmp_path / folder, "images/1.jpg", "masks/1.jpg")) == layout


def test_masks_that_are_no_jpeg_are_another_set(tmp_path: Path, touch: Any) -> None:
    assert detect(touch(tmp_path / "Kvasir-SEG", "images/1.jpg", "masks/1.png")) == "paired"
