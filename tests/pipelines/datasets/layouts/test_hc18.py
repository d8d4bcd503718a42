from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_lists import known

from delineate.pipelines.core.errors import NotedError
from delineate.pipelines.datasets.layouts import hc18

NAMES = ("000_HC", "010_HC", "010_2HC")
TABLE = "training_set_pixel_size_and_HC.csv"
HEADER = "filename,pixel size(mm),head circumference (mm)\n"


@pytest.fixture
def source(tmp_path: Path, touch: Any) -> Path:
    touch(tmp_path, *(f"training_set/{name}{end}.png" for name in NAMES for end in ("", "_Annotation")))
    (tmp_path / TABLE).write_text(HEADER + "".join(f"{name}.png,0.{i}5,{i}\n" for i, name in enumerate(NAMES, 1)))
    return tmp_path


@pytest.mark.parametrize("folder", ["", "training_set"])
def test_a_contour_has_its_pregnancy_and_pixel_size(source: Path, folder: str) -> None:
    items, refused = hc18(source / folder)
    assert not refused
    assert {item.file.stem: (item.group, known(item)) for item in items} == {
        "000_HC": ("pregnancy 000", {"label_is": "outline", "spacing": [0.15, 0.15]}),
        "010_HC": ("pregnancy 010", {"label_is": "outline", "spacing": [0.25, 0.25]}),
        "010_2HC": ("pregnancy 010", {"label_is": "outline", "spacing": [0.35, 0.35]}),
    }


@pytest.mark.parametrize("size", ["", "0", "-1", "inf", "nan", "large"])
def test_an_image_without_a_pixel_size_has_no_spacing_and_that_is_said(source: Path, size: str) -> None:
    (source / TABLE).write_text(HEADER + f"000_HC.png,0.1,9\n010_HC.png,0.1,9\n010_2HC.png,{size},9\n")
    items, refused = hc18(source)
    assert [item.file.stem for item in items if "spacing" not in known(item)] == ["010_2HC"]
    (remark,) = refused
    assert isinstance(remark, NotedError)
    assert (Path(remark.source).stem, "indexed without spacing" in remark.reason) == ("010_2HC", True)


def test_a_missing_table_is_named_once(source: Path, refusals: Any) -> None:
    (source / TABLE).unlink()
    found = hc18(source)
    assert [known(item) for item in found[0]] == [{"label_is": "outline"}] * 3
    assert refusals(found) == {TABLE: "does not exist: no image has a spacing"}


def test_the_images_of_the_test_set_are_passed_over_with_a_remark(source: Path, touch: Any, refusals: Any) -> None:
    found = hc18(touch(source, "test_set/000_HC.png"))
    assert len(found[0]) == 3
    assert refusals(found) == {"test_set": "has no annotations; passed over"}


def test_an_image_without_annotation_is_refused(source: Path, refusals: Any) -> None:
    (source / "training_set/000_HC_Annotation.png").unlink()
    assert refusals(hc18(source)) == {"000_HC.png": "image has no mask"}
