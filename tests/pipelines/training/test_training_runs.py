"""Whole trainings of a shipped bundle: stopped, resumed on something else, extended, begun with other weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from delineate.pipelines.bundling.verify.bundle import verify_bundle
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.evaluation.workflow import evaluate
from delineate.pipelines.phantoms.images import write_phantoms
from delineate.pipelines.training.workflow import train

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of every bundle that is run

SMALL = {"image_size": [32, 32], "max_epochs": 2, "batch_size": 4, "precision": "float32"}
BEGUN, NETWORK = "skin_lesion", "ultra_light_unet"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``dataset`` and, trained on it, ``run``; nothing may write into it."""
    folder = tmp_path_factory.mktemp("begun")
    write_phantoms(folder / "dataset", 12)
    index_dataset(folder / "dataset", out=folder / "dataset")
    train(BEGUN, folder / "dataset", folder / "run", network=NETWORK, settings=SMALL)
    return folder


@pytest.fixture
def place(begun: Path, tmp_path: Path) -> Path:
    """A copy of ``begun`` to write into."""
    shutil.copytree(begun, tmp_path / "place")
    return tmp_path / "place"


def state(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    return loaded


def last_session(run: Path) -> dict[str, Any]:
    session: dict[str, Any] = json.loads((run / "logs" / "record.json").read_text())["sessions"][-1]
    return session


def invert_masks(dataset: Path) -> None:
    for path in (dataset / "masks").iterdir():
        Image.fromarray(255 - np.array(Image.open(path))).save(path)


def test_a_run_has_a_page_of_its_curves_and_of_validation_images(begun: Path) -> None:
    page = (begun / "run" / "report.html").read_text(encoding="utf-8")
    assert "Training loss by epoch, at the end: loss" in page
    assert f"The best validation Dice was {last_session(begun / 'run')['best']['value']:.4f}" in page
    images = len(json.loads((begun / "dataset" / "datalist.json").read_text())["validation"])
    assert page.count("data:image/jpeg") == min(images, 4)
    assert "<script" not in page


def test_the_record_says_in_what_precision_the_network_learned(begun: Path) -> None:
    assert last_session(begun / "run")["precision"] == "float32"


@pytest.mark.parametrize("loss", ["tversky_focal", "boundary"])
def test_a_run_with_another_loss_a_running_mean_and_bent_images_is_a_bundle_that_passes(
    begun: Path, tmp_path: Path, loss: str
) -> None:
    settings = {**SMALL, "max_epochs": 1, "ema": 0.9, "elastic": 0.5}
    run = train(BEGUN, begun / "dataset", tmp_path / "run", network=NETWORK, loss=loss, settings=settings)
    assert verify_bundle(run) == []
    last, kept = state(run), torch.load(run / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(kept[name], value) for name, value in last["average"]["average"].items())
    assert any(not torch.equal(kept[name], value) for name, value in last["network"].items())


def test_tensorboard_has_the_images_of_each_best_validation(begun: Path) -> None:
    events = EventAccumulator(str(begun / "run" / "logs"), {"images": 0}).Reload()
    assert last_session(begun / "run")["best"]["epoch"] == events.Images("validation/case_1")[-1].step


def test_a_run_with_its_page_is_a_bundle_that_passes(begun: Path) -> None:
    assert verify_bundle(begun / "run") == []


def test_a_training_with_a_wild_learning_rate_stops_and_leaves_no_run(place: Path) -> None:
    wild = {**SMALL, "learning_rate": 1e30}
    with pytest.raises(DelineateError, match=r"epoch 1: .*lower learning_rate"):
        train(BEGUN, place / "dataset", place / "wild", settings=wild)
    assert not (place / "wild").exists()


def test_masks_that_changed_since_they_were_indexed_are_not_trained_on(place: Path) -> None:
    invert_masks(place / "dataset")
    with pytest.raises(DelineateError, match=r"\.png: changed since it was indexed; index again"):
        train(BEGUN, place / "dataset", place / "other", settings=SMALL)
    with pytest.raises(DelineateError, match=r"\.png: changed since it was indexed; index again"):
        train(BEGUN, place / "dataset", place / "run", resume=True, settings={"max_epochs": 3})


def test_masks_that_changed_since_they_were_indexed_are_not_scored(place: Path) -> None:
    datalist = json.loads((place / "dataset" / "datalist.json").read_text())
    path = place / "dataset" / datalist["validation"][0]["label"]
    Image.fromarray(255 - np.array(Image.open(path))).save(path)
    scores = evaluate(place / "run", place / "dataset", split="validation")
    assert scores["count"] == len(datalist["validation"]) - 1
    assert [name for name in scores["refused"] if "changed since it was indexed" in name and path.name in name]


def test_a_run_is_resumed_on_other_splits_only_where_that_is_allowed(place: Path) -> None:
    path = place / "dataset" / "datalist.json"
    lists = json.loads(path.read_text())
    lists["validation"].append(lists["training"].pop())
    path.write_text(json.dumps(lists))
    again: Callable[..., Path] = lambda **more: train(  # noqa: E731
        BEGUN, place / "dataset", place / "run", resume=True, settings={"max_epochs": 3}, **more
    )
    with pytest.raises(DelineateError, match=r"training: \d+, now \d+; validation"):
        again()
    again(allow_other_data=True)
    assert last_session(place / "run")["settings"]["allow_other_data"] is True


def test_a_run_is_extended_by_one_more_cycle(place: Path) -> None:
    train(BEGUN, place / "dataset", place / "run", resume=True, settings={"max_epochs": 4})
    extended = state(place / "run")
    assert extended["epoch"] == 4
    assert extended["lr_scheduler"]["last_epoch"] == extended["iteration"] // 2
    assert (
        last_session(place / "run")["settings"] | {"max_epochs": 4, "extended_from": 2}
        == (last_session(place / "run")["settings"])
    )
    config = yaml.safe_load((place / "run" / "configs" / "train.yaml").read_text())
    assert (config["max_epochs"], config["extended_from"]) == (4, 2)


@pytest.mark.parametrize("epochs", [1, 0, "many"])
def test_a_run_is_not_extended_to_fewer_epochs(place: Path, epochs: Any) -> None:
    with pytest.raises(DelineateError, match="has 2 epochs; extend it to more"):
        train(BEGUN, place / "dataset", place / "run", resume=True, settings={"max_epochs": epochs})


def test_a_run_begins_with_the_weights_of_another(place: Path) -> None:
    run = train(BEGUN, place / "dataset", place / "next", network=NETWORK, settings=SMALL, init_from=place / "run")
    initial = last_session(run)["initial_weights"]
    assert initial["as_initialised"] == initial["not_used"] == []
    given, model = (
        torch.load(p, weights_only=True) for p in (run / "checkpoints/initial.pt", place / "run/models/model.pt")
    )
    assert all(torch.equal(given[name], model[name]) for name in model)


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_weights_that_cannot_be_begun_with_leave_no_run(place: Path, damage: str) -> None:
    path = place / "run" / "models" / "model.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"x") if damage == "flipped" else path.unlink()
    with pytest.raises(DelineateError, match=r"another SHA-256|has no weights"):
        train(BEGUN, place / "dataset", place / "next", network=NETWORK, settings=SMALL, init_from=place / "run")
    assert sorted(p.name for p in place.iterdir()) == ["dataset", "run"]


def test_what_fails_before_the_first_epoch_can_be_begun_again(place: Path) -> None:
    (place / "next").mkdir()
    with pytest.raises(Exception, match=r"learning_rate|lr|str"):
        train(BEGUN, place / "dataset", place / "next", settings={**SMALL, "learning_rate": "fast"})
    assert list((place / "next").iterdir()) == []
