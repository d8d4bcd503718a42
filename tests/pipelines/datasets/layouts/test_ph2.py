from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_lists import known

from delineate.pipelines.datasets.layouts import ph2

ROOT = "PH2Dataset/PH2 Dataset images"
TABLE = """
||   Name ||   Histological Diagnosis ||   Clinical Diagnosis ||   Asymmetry ||  Colors  ||
|| IMD002 ||                          ||                    0 ||           0 || 4        ||
|| IMD003 || Melanoma                 ||                    2 ||           1 || 4 5      ||
"""


@pytest.fixture
def source(tmp_path: Path, touch: Any) -> Path:
    for name in ("IMD002", "IMD003", "IMD004"):
        folder = f"{ROOT}/{name}/{name}"
        touch(tmp_path, f"{folder}_Dermoscopic_Image/{name}.bmp", f"{folder}_lesion/{name}_lesion.bmp")
        touch(tmp_path, f"{folder}_roi/{name}_R1_Label4.bmp")
    return tmp_path


@pytest.mark.parametrize("folder", ["", "PH2Dataset", ROOT])
def test_images_and_lesions_are_paired_below_any_parent(source: Path, folder: str, pairs: Any) -> None:
    found = ph2(source / folder)
    assert pairs(found) == [(f"IMD00{i}.bmp", f"IMD00{i}_lesion.bmp") for i in (2, 3, 4)]
    assert [item.group for item in found[0]] == ["IMD002", "IMD003", "IMD004"]
    assert not found[1]


def test_the_class_is_the_clinical_diagnosis_where_the_table_has_it(source: Path) -> None:
    (source / "PH2Dataset/PH2_dataset.txt").write_text(TABLE)
    assert [known(item) for item in ph2(source)[0]] == [{"class": "common nevus"}, {"class": "melanoma"}, {}]


def test_two_copies_of_an_image_are_refused(source: Path, touch: Any, refusals: Any) -> None:
    assert refusals(ph2(touch(source, "copy/IMD002.bmp"))) == {
        "IMD002.bmp": "is one of several images of one name (also IMD002.bmp)"
    }
