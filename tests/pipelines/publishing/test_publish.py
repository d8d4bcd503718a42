from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from delineate.pipelines.bundling.bundles import new_bundle
from delineate.pipelines.bundling.card_text import CARD, card_of
from delineate.pipelines.bundling.familiarity import read_familiarity
from delineate.pipelines.bundling.verify import verify_bundle
from delineate.pipelines.bundling.weights import load_network
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.sums import sha256
from delineate.pipelines.datasets.seen import SEEN, marks_of, read_seen
from delineate.pipelines.evaluation.values import shown
from delineate.pipelines.evaluation.workflow import evaluate
from delineate.pipelines.inference.segmenter import Segmenter
from delineate.pipelines.publishing.publish import publish_bundle

PUBLISHED = {
    *("LICENSE", "configs", "docs", "docs/README.md", "docs/data_license.txt", str(CARD), str(SEEN)),
    *("models/model.pt", "models/SHA256SUMS"),
}


@pytest.fixture(scope="module")
def scores(phantom_run: Path, phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores") / "evaluation"
    evaluate(phantom_run, phantom_data, folder, settings={"page": False})
    return folder


@pytest.fixture(scope="module")
def published(phantom_run: Path, scores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    (folder / "notes.yaml").write_text("intended_use: To be tried.\n")
    return publish_bundle(phantom_run, folder / "skin", [scores], folder / "notes.yaml")


def readme(bundle: Path) -> str:
    return (bundle / "docs" / "README.md").read_text(encoding="utf-8")


def changed(scores: Path, folder: Path, **facts: Any) -> Path:
    """The evaluation, with other things in ``metrics.json``."""
    shutil.copytree(scores, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | facts))
    return folder


def test_it_passes_with_its_weights_and_without_what_only_the_training_needs(
    published: Path, phantom_run: Path
) -> None:
    there = {path.relative_to(published).as_posix() for path in published.rglob("*")}
    assert there >= PUBLISHED
    assert {name.partition("/")[0] for name in there} == {"LICENSE", "configs", "docs", "models", "logs"}
    assert {name for name in there if name.startswith("logs/")} == {SEEN.as_posix()}
    assert sha256(published / "models/model.pt") == sha256(phantom_run / "models/model.pt")
    assert verify_bundle(published) == []


def test_what_the_weights_have_seen_goes_along(published: Path, phantom_data: Path) -> None:
    assert read_seen(published / SEEN) == marks_of(phantom_data)


def test_the_card_says_what_the_evaluation_found_and_what_was_noted(published: Path, scores: Path) -> None:
    metrics = json.loads((scores / "metrics.json").read_text())
    dice, card = metrics["mean_dice"], readme(published)
    assert f"{shown(dice['value'])} ({shown(dice['ci95'][0])} to {shown(dice['ci95'][1])})" in card
    assert metrics["data_hash"] in card
    assert sha256(published / "models/model.pt") in card
    assert "To be tried." in card


def test_scores_that_flatter_are_called_so(phantom_run: Path, scores: Path, tmp_path: Path) -> None:
    seen = changed(scores, tmp_path / "scores", seen_in_training=3)
    card = readme(publish_bundle(phantom_run, tmp_path / "b", [seen]))
    assert "This network has seen 3 images of these in its training" in card


def test_an_evaluation_of_other_weights_is_refused_and_nothing_is_made(
    phantom_run: Path, scores: Path, tmp_path: Path
) -> None:
    other = changed(scores, tmp_path / "scores", bundle={"hash": "0" * 64})
    with pytest.raises(DelineateError, match="is an evaluation of other weights"):
        publish_bundle(phantom_run, tmp_path / "b", [other])
    assert {path.name for path in tmp_path.iterdir()} == {"scores"}


def test_other_data_than_that_of_the_training_are_refused(
    phantom_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    datalist = json.loads((phantom_data / "datalist.json").read_text())
    (tmp_path / "datalist.json").write_text(json.dumps({**datalist, "training": datalist["training"][1:]}))
    with pytest.raises(DelineateError, match="not what the run was trained on"):
        publish_bundle(phantom_run, tmp_path / "b", data=tmp_path)


def test_a_bundle_keeps_its_configuration_and_gets_the_weights(phantom_run: Path, tmp_path: Path) -> None:
    bundle = new_bundle(tmp_path / "b", "skin_lesion", "ultra_light_unet", settings={"image_size": [64, 64]})
    before = {path.name: path.read_bytes() for path in (bundle / "configs").iterdir()}
    publish_bundle(phantom_run, bundle)
    assert {path.name: path.read_bytes() for path in (bundle / "configs").iterdir()} == before
    assert sha256(bundle / "models/model.pt") == sha256(phantom_run / "models/model.pt")


def test_a_bundle_that_the_weights_do_not_fit_is_left_as_it_was(phantom_run: Path, tmp_path: Path) -> None:
    bundle = new_bundle(tmp_path / "b", "skin_lesion", "ultra_light_unet")
    with pytest.raises(DelineateError, match=r"were trained with image_size \[64, 64\], and .* has \[192, 192\]"):
        publish_bundle(phantom_run, bundle)
    assert not (bundle / "models").exists()


def test_in_half_precision_kernels_take_half_the_space_and_the_masks_stay(
    phantom_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    bundle = publish_bundle(phantom_run, tmp_path / "b", half=True)
    state = torch.load(bundle / "models/model.pt", weights_only=True)
    kinds = {(one.ndim > 1, one.dtype) for one in state.values() if one.is_floating_point()}
    assert kinds == {(True, torch.float16), (False, torch.float32)}
    assert verify_bundle(bundle) == []
    assert "with kernels rounded to float16" in readme(bundle)
    assert {one.dtype for one in load_network(bundle).parameters()} == {torch.float32}
    assert read_familiarity(bundle / "models")  # of these weights, not of the run's
    image = next(path for path in phantom_data.parent.rglob("*.*") if "images" in path.parts)
    masks = [next(Segmenter(folder).segment(image)).mask for folder in (phantom_run, bundle)]
    assert (masks[0] != masks[1]).mean() < 0.01  # an eleventh bit of the weights moves few pixels at the edge


def test_in_half_precision_the_weights_are_others_than_those_that_were_evaluated(
    phantom_run: Path, scores: Path, tmp_path: Path
) -> None:
    with pytest.raises(DelineateError, match="is an evaluation of other weights"):
        publish_bundle(phantom_run, tmp_path / "b", [scores], half=True)


def test_in_half_precision_once_more_the_same_file_comes_out(phantom_run: Path, tmp_path: Path) -> None:
    once = publish_bundle(phantom_run, tmp_path / "once", half=True)
    twice = publish_bundle(once, tmp_path / "twice", half=True)
    assert sha256(once / "models/model.pt") == sha256(twice / "models/model.pt")


def test_published_again_from_itself_it_has_the_same_scores_and_the_new_notes(published: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(published, tmp_path / "b")
    (tmp_path / "notes.yaml").write_text("worst_cases: Small ones.\n")
    publish_bundle(bundle, bundle, notes=tmp_path / "notes.yaml")
    before, after = (json.loads((one / CARD).read_text()) for one in (published, bundle))
    assert {**before, "notes": {}} == {**after, "notes": {}}
    assert "**Worst cases:** Small ones." in readme(bundle)
    assert card_of(bundle) != card_of(published)
