from __future__ import annotations

from pathlib import Path
from typing import Any

from data_lists import known

from delineate.pipelines.datasets.layouts import busbra

HEAD = "ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX\n"
NAMES = ("0009-l", "0009-r", "0018-s")
FILES = [f"{start}_{name}.png" for name in NAMES for start in ("Images/bus", "Masks/mask")]


def test_the_group_is_the_patient_and_the_class_the_pathology(tmp_path: Path, touch: Any, pairs: Any) -> None:
    touch(tmp_path, *FILES)
    rows = [f'bus_{name},{int(name[:4])},x,malignant,4,GE Logiq 7,1,1,left,"[1,2,3,4]"' for name in NAMES]
    (tmp_path / "bus_data.csv").write_text(HEAD + "\n".join(rows))
    found = busbra(tmp_path)
    assert pairs(found) == [(f"bus_{name}.png", f"mask_{name}.png") for name in NAMES]
    assert [item.group for item in found[0]] == ["patient 9", "patient 9", "patient 18"]
    assert {tuple(known(item).items()) for item in found[0]} == {(("class", "malignant"), ("device", "GE Logiq 7"))}
    assert {item.rule for item in found[0]} == {"bus_* with mask_*"}
    assert not found[1]


def test_without_the_table_the_number_is_the_patient(tmp_path: Path, touch: Any, refusals: Any) -> None:
    found = busbra(touch(tmp_path, *FILES))
    assert [item.group for item in found[0]] == ["patient 9", "patient 9", "patient 18"]
    assert "does not exist: no image has a class" in refusals(found)["bus_data.csv"]


def test_an_image_without_a_row_is_told(tmp_path: Path, touch: Any, refusals: Any) -> None:
    touch(tmp_path, *FILES)
    (tmp_path / "bus_data.csv").write_text(HEAD + "bus_0009-l,9,x,benign,4,d,1,1,l,\n")
    found = busbra(tmp_path)
    assert [item.group for item in found[0]] == ["patient 9", "patient 9", "patient 18"]
    assert set(refusals(found)) == {"bus_0009-r.png", "bus_0018-s.png"}


def test_an_image_without_a_mask_is_refused(tmp_path: Path, touch: Any, refusals: Any) -> None:
    found = busbra(touch(tmp_path, *FILES, "Images/bus_0020-s.png"))
    assert refusals(found)["bus_0020-s.png"] == "image has no mask"
