from __future__ import annotations

from pathlib import Path
from typing import Any

from delineate.pipelines.core.errors import SkippedError
from delineate.pipelines.datasets.layouts import nerve
from delineate.pipelines.imaging.filetypes import IMAGE_SUFFIXES


def test_the_images_of_a_subject_are_one_group(tmp_path: Path, touch: Any, pairs: Any) -> None:
    found = nerve(touch(tmp_path, *(f"{name}{end}.tif" for name in ("1_1", "1_12", "11_2") for end in ("", "_mask"))))
    assert pairs(found) == [(f"{name}.tif", f"{name}_mask.tif") for name in ("11_2", "1_1", "1_12")]
    assert [item.group for item in found[0]] == ["subject 11", "subject 1", "subject 1"]
    assert not found[1]


def test_test_is_passed_over_with_a_remark(tmp_path: Path, touch: Any, pairs: Any) -> None:
    found = nerve(touch(tmp_path, "train/1_1.tif", "train/1_1_mask.tif", "test/1.tif"))
    assert pairs(found) == [("1_1.tif", "1_1_mask.tif")]
    assert [(type(error), Path(error.source).name) for error in found[1]] == [(SkippedError, "test")]


def test_what_has_no_counterpart_or_another_name_is_refused(tmp_path: Path, touch: Any, refusals: Any) -> None:
    found = nerve(touch(tmp_path, "1_1.tif", "1_2_mask.tif", "photo.tif", "notes.txt"))
    assert not found[0]
    assert refusals(found) == {
        "1_1.tif": "image has no mask",
        "1_2_mask.tif": "mask has no image",
        "photo.tif": "is not named N_M.tif or N_M_mask.tif",
        "notes.txt": f"is not an image (needed is {', '.join(sorted(IMAGE_SUFFIXES))})",
    }
