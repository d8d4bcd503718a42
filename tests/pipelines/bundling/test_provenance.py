from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_lists import dataset_hash

from delineate.pipelines.bundling.provenance import provenance

ITEM = {"image": "a.png", "label": "a_mask.png", "group": "a", "image_sha256": "0" * 64, "label_sha256": "1" * 64}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    datalist = {"training": [ITEM], "validation": [], "test": []}
    (tmp_path / "datalist.json").write_text(json.dumps(datalist))
    return tmp_path


def test_the_data_hash_is_that_of_the_index(dataset: Path) -> None:
    assert provenance(dataset)["data_hash"] == dataset_hash({"training": [ITEM], "validation": [], "test": []})


def test_provenance_can_be_written_as_json(dataset: Path) -> None:
    assert json.loads(json.dumps(provenance(dataset))).keys() == {
        "versions",
        "commit",
        "data_name",
        "data_hash",
        "bundle",
    }
