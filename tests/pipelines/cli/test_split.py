from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_lists import straddling
from typer import Typer
from typer.testing import CliRunner

from delineate.pipelines.cli.split import split
from delineate.pipelines.core.errors import DelineateError

app = Typer(pretty_exceptions_enable=False)
app.command()(split)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    entries = [
        {"image": f"{name}.png", "label": f"{name}_mask.png", "group": name, "image_sha256": name, "area": 0.1}
        for name in "abcdefghij"
    ]
    (folder / "datalist.json").write_text(json.dumps({"training": entries, "validation": [], "test": []}))
    return folder


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    return result.stdout


def test_one_seed_is_written_to_the_folder_itself(dataset: Path, tmp_path: Path) -> None:
    text = run(dataset, "--out", tmp_path / "out", "--split", "0.6,0.2,0.2")
    assert "0\ttraining\t6\n0\tvalidation\t2\n0\ttest\t2\n" in text
    assert f"written: {tmp_path / 'out/datalist.json'}" in text


def test_each_of_several_seeds_is_written_to_a_folder_of_its_own(dataset: Path, tmp_path: Path) -> None:
    run(dataset, "--out", tmp_path / "out", "--seeds", "0,1,2", "--folds", 5, "--split", "0.8,0,0.2")
    lists = [json.loads((tmp_path / f"out/seed_{seed}/datalist.json").read_text()) for seed in range(3)]
    assert [datalist["seed"] for datalist in lists] == [0, 1, 2]
    assert len({json.dumps(datalist["test"]) for datalist in lists}) > 1
    assert not any(straddling(datalist) for datalist in lists)


def test_masks_of_a_share_of_the_training_images_are_kept(dataset: Path, tmp_path: Path) -> None:
    text = run(dataset, "--out", tmp_path / "out", "--split", "0.6,0.2,0.2", "--labelled-share", 0.5)
    assert "0\ttraining\t3\n0\tvalidation\t2\n0\ttest\t2\n0\tunlabelled\t3\n" in text


@pytest.mark.parametrize(
    ("option", "text", "needed"), [("--split", "0.7;0.3", "three shares"), ("--seeds", "0,x", "whole numbers")]
)
def test_what_is_no_number_is_refused(dataset: Path, option: str, text: str, needed: str) -> None:
    with pytest.raises(DelineateError, match=f"{option} got '{text}'; give {needed}"):
        run(dataset, "--out", dataset / "out", option, text)
    assert not (dataset / "out").exists()
