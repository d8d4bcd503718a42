from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_lists import known

from delineate.pipelines.datasets.layouts import busi


@pytest.mark.parametrize("above", ["", "Dataset_BUSI_with_GT"])
def test_busi_unites_all_masks_of_an_image_and_keeps_its_class(
    tmp_path: Path, above: str, touch: Any, pairs: Any
) -> None:
    names = [f"benign/benign (4){end}.png" for end in ("", "_mask", "_mask_1", "_mask_2")]
    touch(tmp_path / above, *names, "normal/normal (1).png", "normal/normal (1)_mask.png")
    found = busi(tmp_path)
    assert pairs(found) == [
        tuple(Path(name).name for name in names),
        ("normal (1).png", "normal (1)_mask.png"),
    ]
    assert [known(item) for item in found[0]] == [{"class": "benign"}, {"class": "normal"}]


def test_busi_refuses_an_image_without_a_mask_and_a_mask_without_an_image(
    tmp_path: Path, touch: Any, refusals: Any
) -> None:
    found = busi(touch(tmp_path, "benign/benign (1).png", "malignant/malignant (1)_mask_1.png"))
    assert not found[0]
    assert refusals(found) == {
        "benign (1).png": "image has no mask",
        "malignant (1)_mask_1.png": "mask has no image",
    }
