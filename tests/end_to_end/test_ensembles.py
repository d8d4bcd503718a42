"""Several runs together, and several views of an image: the same masks and scores by every interface."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ensembles import random_bundle
from PIL import Image
from processes import inside, refusal, stock, succeeded

from delineate import Segmenter, evaluate
from delineate.pipelines.bundling.gate import admit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members ``a`` and ``b``, put together as ``both``; two ``photos``; what the command line made of them."""
    folder = tmp_path_factory.mktemp("ensembles")
    for seed, name in enumerate("ab"):
        random_bundle(folder / name, seed)
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for name, size in {"small": (40, 51), "square": (64, 64)}.items():
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(folder / "photos" / f"{name}.png")
    succeeded(inside("bundle", "ensemble", "both", "a", "b", cwd=folder))
    options = ("--tta", "flips", "--probability", "--out", "ours")
    said = succeeded(inside("segment", "--ensemble", "a", "b", "photos", *options, cwd=folder)).stdout
    assert "ensemble of 2 networks; to keep it: delineate bundle ensemble FOLDER a b" in said
    return folder


def test_stock_monai_gives_the_same_masks(folder: Path) -> None:
    words = ["--config_file", "both/configs/inference.yaml", "--bundle_root", "both", "--dataset_dir", "photos"]
    succeeded(stock("run", *words, "--output_dir", "stocks", "--tta", "flips", "--probability", "True", cwd=folder))
    ours = sorted((folder / "ours").glob("*.png"))
    assert len(ours) == 4
    for path in ours:
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(folder / "stocks" / path.name)))


def test_python_gives_the_same_masks(folder: Path) -> None:
    found = Segmenter([folder / "a", folder / "b"], tta="flips").segment(folder / "photos")
    for result in found:
        mask = np.asarray(Image.open(folder / "ours" / f"{result.name}_mask.png"))
        assert np.array_equal(result.mask, mask // 255)
        assert 0 < result.mask.mean() < 1


def test_the_table_names_members_and_views(folder: Path) -> None:
    with (folder / "ours" / "results.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    members = "; ".join(admit(folder / name).hash for name in "ab")
    assert [(row["members"], row["tta"], row["bundle"]) for row in rows] == [
        (members, "flips", admit(folder / "both").hash)
    ] * 2


def test_an_ensemble_is_scored_alike_from_the_command_line_and_from_python(folder: Path, dataset: Path) -> None:
    words = ["--ensemble", "a", "b", "--data", dataset, "--out", "scores", "--tta", "flips"]
    succeeded(inside("evaluate", *words, cwd=folder))
    told = json.loads((folder / "scores" / "metrics.json").read_text())
    assert told["tta"] == "flips"
    assert told["members"] == [{"name": name, "hash": admit(folder / name).hash} for name in "ab"]
    assert told["bundle"]["hash"] == admit(folder / "both").hash
    assert told["bundle"]["members"] == [str(folder / name) for name in "ab"]
    assert "path" not in told["bundle"]  # of a folder that is gone
    assert "Evaluation of ensemble of 2 networks" in (folder / "scores" / "report.html").read_text()
    assert "Probabilities are means over 2 networks and flips of the image." in told["protocol"]
    found = evaluate([folder / "a", folder / "b"], dataset, settings={"tta": "flips"})
    assert found["mean_dice"] == told["mean_dice"]


def test_an_ensemble_is_not_trained(folder: Path, dataset: Path) -> None:
    said = refusal(inside("train", "both", "--data", dataset, "--out", "run", cwd=folder))
    assert "an ensemble is not trained: train its members" in said
    assert not (folder / "run").exists()


def test_several_runs_are_scored_only_as_an_ensemble(folder: Path, dataset: Path) -> None:
    said = refusal(inside("evaluate", "a", "b", "--data", dataset, "--out", "none", cwd=folder))
    assert "name one run; of several, --ensemble scores the mean" in said


def test_views_that_training_did_not_show_are_refused_in_a_line(folder: Path) -> None:
    random_bundle(folder / "upright", 3, upright=True)
    said = refusal(inside("segment", "upright", "photos", "--out", "none", "--tta", "rotations", cwd=folder))
    assert "tta is rotations, but training turned no image (upright: true); set tta to flips" in said


def test_scores_of_an_ensemble_do_not_go_into_a_member(folder: Path, dataset: Path) -> None:
    said = refusal(inside("evaluate", "--ensemble", "a", "b", "--data", dataset, "--out", "b", cwd=folder))
    assert "b is of the run" in said
    assert not (folder / "b" / "metrics.json").exists()
