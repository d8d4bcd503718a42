"""Structures, channels and their names agree in a bundle, or a finding says which does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from delineate.pipelines.bundling.bundles import new_bundle
from delineate.pipelines.bundling.settings import WORKFLOWS
from delineate.pipelines.bundling.verify import verify_bundle

CHEST = [{"name": "heart"}, {"name": "left lung"}]


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    return new_bundle(tmp_path / "chest", "nerve", settings={"structures": CHEST, "out_channels": 2})


def change(bundle: Path, id_: str, value: str, *workflows: str) -> None:
    for workflow in workflows or WORKFLOWS:
        path = bundle / "configs" / f"{workflow}.yaml"
        text, count = re.subn(rf"(?m)^{id_}:.*?$((\n  - .*)*)", f"{id_}: {value}", path.read_text(), count=1)
        assert count == 1
        path.write_text(text)


def findings(bundle: Path) -> list[str]:
    return [str(one) for one in verify_bundle(bundle) if one.rule == "structures"]


def test_a_bundle_of_several_structures_passes(tmp_path: Path, chest: Path) -> None:
    assert verify_bundle(chest) == []
    settings = {"structures": CHEST, "exclusive": True, "out_channels": 3}
    assert verify_bundle(new_bundle(tmp_path / "zones", "nerve", settings=settings)) == []


def test_the_metadata_follow_the_structures(chest: Path) -> None:
    metadata = json.loads((chest / "configs" / "metadata.json").read_text())
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert (pred["num_channels"], pred["channel_def"]) == (2, {"0": "heart", "1": "left lung"})


def test_names_in_the_metadata_that_are_not_the_structures_are_found(chest: Path) -> None:
    path = chest / "configs" / "metadata.json"
    path.write_text(path.read_text().replace('"1": "left lung"', '"1": "liver"'))
    (finding,) = findings(chest)
    assert finding.startswith("configs/metadata.json:")
    assert "liver" in finding
    assert "write those" in finding


@pytest.mark.parametrize(
    ("id_", "value", "problem"),
    [
        ("out_channels", "3", "out_channels is 3 for 2 structures; write 2"),
        ("exclusive", "true", "out_channels is 2 for 2 structures and the background; write 3"),
        ("exclusive", "1", "exclusive is 1; write true or false"),
        ("structures", "heart", "write a list of mappings"),
        ("structures", "[{name: heart}, {name: heart}]", "names 'heart' twice"),
        ("structures", "[{name: heart, shape: round}, {name: lung}]", "shape"),
        ("structures", "[]", "write a list of mappings"),
        ("threshold", "{liver: 0.3}", "no structure is called 'liver'"),
        ("threshold", "7", "threshold is 7; set a probability"),
    ],
)
def test_what_does_not_agree_is_found_in_each_workflow(chest: Path, id_: str, value: str, problem: str) -> None:
    change(chest, id_, value)
    found = [one for one in findings(chest) if problem in one]
    assert len(found) == len(WORKFLOWS)


def test_workflows_have_the_same_structures(chest: Path) -> None:
    change(chest, "structures", "[{name: heart}, {name: right lung}]", "inference", "evaluate")
    found = [str(one) for one in verify_bundle(chest)]
    assert any("make structures alike in both" in one for one in found)


def test_a_bundle_of_before_there_were_structures_passes(tmp_path: Path) -> None:
    bundle = new_bundle(tmp_path / "old", "nerve")
    for workflow in WORKFLOWS:
        path = bundle / "configs" / f"{workflow}.yaml"
        text = re.sub(r"(?m)^(structures:.*\n(  .*\n)+|exclusive:.*\n)", "", path.read_text())
        text = re.sub(r'(?m)^ +(structures: "@structures"|exclusive: "@exclusive")\n', "", text)
        path.write_text(
            re.sub(r'"\$not @exclusive"|"@exclusive"', "false", text).replace("threshold: null", "threshold: 0.5")
        )
        assert "@structures" not in path.read_text()
    assert verify_bundle(bundle) == []
