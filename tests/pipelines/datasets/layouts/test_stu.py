from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.datasets.layouts import stu


@pytest.mark.parametrize("above", ["", "Hospital/"])
def test_images_and_masks_are_paired_by_their_number(tmp_path: Path, above: str, touch: Any, pairs: Any) -> None:
    names = [f"{above}{name}_{i}.png" for i in (1, 12) for name in ("Test_Image", "mask")]
    found = stu(touch(tmp_path, *names, "README.md", "demo/x.png") if above else touch(tmp_path, *names))
    assert pairs(found) == [("Test_Image_1.png", "mask_1.png"), ("Test_Image_12.png", "mask_12.png")]
    assert [item.group for item in found[0]] == ["Test_Image_1", "Test_Image_12"]
    assert not found[1]


def test_what_has_no_counterpart_or_another_name_is_refused(tmp_path: Path, touch: Any, refusals: Any) -> None:
    found = stu(touch(tmp_path, "Test_Image_1.png", "mask_2.png", "map.png"))
    assert refusals(found) == {
        "Test_Image_1.png": "image has no mask",
        "mask_2.png": "mask has no image",
        "map.png": "is not named Test_Image_N.png or mask_N.png",
    }
