from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.data import Dataset
from monai.inferers import SimpleInferer
from monai.transforms import Compose
from tiny_training import Build, Training

from delineate.pipelines.bundling.verify.bundle import verify_bundle
from delineate.pipelines.core.errors import DelineateError, WrongValueError
from delineate.pipelines.datasets.splitting.resplit import split_dataset
from delineate.pipelines.datasets.splitting.splits import Plan
from delineate.pipelines.loading.datasets import AugmentedDataset
from delineate.pipelines.training.average import WeightAverage, copy_network
from delineate.pipelines.training.checkpoint import CheckpointSaver
from delineate.pipelines.training.history import HistoryLogger
from delineate.pipelines.training.mean_teacher import MeanTeacher, _boxes
from delineate.pipelines.training.workflow import train

SMALL = {"image_size": [32, 32], "max_epochs": 3, "batch_size": 2, "precision": "float32"}
LIGHT = "ultra_light_unet"


class Noise:
    """Another pair of views each time it is drawn."""

    def __call__(self, item: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"weak": item["image"], "strong": item["image"] + torch.rand(1)}


def taught(training: Training, **more: Any) -> MeanTeacher:
    """A teacher attached to a tiny training."""
    images = Dataset([{"image": torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(n))} for n in range(5)])
    network = training.network
    average = WeightAverage(network, copy_network(network), 0.99)
    average.attach(training.trainer)
    teacher = MeanTeacher(
        network,
        average.average,
        [],
        AugmentedDataset(images, Compose([Noise()])),
        SimpleInferer(),
        False,
        2,
        **more,
    )
    teacher.attach(training.trainer)
    return teacher


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_network_is_not_its_own_teacher(build: Build) -> None:
    network = build([0.5], 1).network
    with pytest.raises(WrongValueError, match=r"ema is 0.*ema=0\.99"):
        MeanTeacher(network, network, [], AugmentedDataset([0], Compose([])), SimpleInferer())


def test_only_the_network_learns_from_the_difference(build: Build) -> None:
    training = build([0.5], 1)
    teacher = taught(training)
    teacher.epoch_started(training.trainer)
    training.trainer.state.iteration, training.trainer.state.epoch_length = 1, 1
    training.trainer.state.output = {"loss": torch.zeros(())}
    teacher.add_difference(training.trainer)
    training.trainer.state.output["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in training.network.parameters())
    assert all(p.grad is None for p in teacher.teacher.parameters())


def test_without_weight_a_training_ends_as_one_without_a_teacher(build: Build) -> None:
    alone, other = build([0.5] * 2, 2), build([0.5] * 2, 2)
    alone.run()
    other.network.load_state_dict(build([0.5], 1).network.state_dict())
    taught(other, weight=0.0)
    other.run()
    assert torch.allclose(alone.weights(), other.weights(), atol=1e-6)


@pytest.mark.parametrize(("iteration", "share"), [(1, 0.0067), (21, 0.2865), (41, 1), (999, 1)])
def test_the_weight_grows_over_the_ramp_and_stays(build: Build, iteration: int, share: float) -> None:
    engine = Engine(lambda engine, batch: None)
    engine.state.iteration, engine.state.epoch_length = iteration, 10
    teacher = taught(build([0.5], 1), weight=2.0, ramp_up=4)
    assert teacher._weight_of(engine) == pytest.approx(2 * share, rel=0.01)


def test_boxes_cover_half_of_an_image_and_lie_in_it() -> None:
    torch.manual_seed(0)
    boxes = _boxes(200, (40, 60))
    assert boxes.shape == (200, 1, 40, 60)
    shares = boxes.float().mean((1, 2, 3))
    assert shares.mean() == pytest.approx(0.5, abs=0.01)
    assert shares.min() > 0.45
    assert shares.max() < 0.55
    rows, columns = boxes.any(3), boxes.any(2)
    assert torch.equal(boxes[:, 0], rows[:, 0, :, None] & columns[:, 0, None, :])


def test_the_best_weights_are_those_of_the_network_that_is_validated(build: Build, tmp_path: Path) -> None:
    training = build([0.5], 1)
    teacher = taught(training)
    training.validator.network = teacher.teacher
    training.run()
    kept = torch.load(tmp_path / "models/model.pt", weights_only=True)
    assert all(torch.equal(kept[name], value) for name, value in teacher.teacher.state_dict().items())
    assert not same(teacher.teacher, training.network)


def test_a_part_of_the_state_that_is_none_is_not_saved(build: Build, tmp_path: Path) -> None:
    training = build([0.5], 1)
    saver = CheckpointSaver(tmp_path / "x", {"network": training.network, "unlabelled": None}, training.validator)
    assert list(saver.save_dict) == ["network"]


@pytest.fixture(scope="module")
def few(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in which half of the training images have masks, and a run of three epochs on it."""
    folder = tmp_path_factory.mktemp("few")
    split_dataset(phantom_data, folder / "data", Plan(), labelled_share=0.5)
    train("skin_lesion", folder / "data", folder / "run", network=LIGHT, settings=SMALL, use_unlabelled=True)
    return folder


def last(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / "checkpoints/last.pt", weights_only=True)
    return found


@pytest.mark.filterwarnings("ignore:parsing config_file")
def test_a_run_with_a_teacher_is_a_bundle_that_passes(few: Path) -> None:
    assert verify_bundle(few / "run") == []


@pytest.mark.filterwarnings("ignore:parsing config_file")
def test_the_record_says_how_many_images_without_masks_were_used_and_they_count_as_seen(few: Path) -> None:
    [session] = json.loads((few / "run/logs/record.json").read_text())["sessions"]
    lists = json.loads((few / "data/datalist.json").read_text())
    assert session["unlabelled"]["used"] + session["unlabelled"]["left_out"] == len(lists["unlabelled"]) > 0
    seen = json.loads((few / "run/logs/seen.json").read_text())["images"]
    labelled = len(lists["training"]) + len(lists["validation"])
    assert len(seen) == 2 * (labelled + session["unlabelled"]["used"])  # by file and by pixels


@pytest.mark.filterwarnings("ignore:parsing config_file")
def test_what_is_kept_is_the_teacher_and_the_last_state_has_both(few: Path) -> None:
    state = last(few / "run")
    assert state["average"]["steps"] == state["iteration"]
    student, teacher = state["network"], state["average"]["average"]
    assert student.keys() == teacher.keys() == torch.load(few / "run/models/model.pt", weights_only=True).keys()
    assert not all(torch.equal(student[name], teacher[name]) for name in student)


@pytest.mark.filterwarnings("ignore:parsing config_file")
def test_a_resumed_training_ends_in_the_same_bits(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = HistoryLogger.epoch_started

    def stop(self: HistoryLogger, engine: Engine) -> None:
        if engine.state.epoch == 3:
            raise DelineateError("stopped here")
        started(self, engine)

    monkeypatch.setattr(HistoryLogger, "epoch_started", stop)
    with pytest.raises(DelineateError, match="stopped here"):
        train("skin_lesion", few / "data", tmp_path / "run", network=LIGHT, settings=SMALL, use_unlabelled=True)
    monkeypatch.undo()
    train("skin_lesion", few / "data", tmp_path / "run", resume=True)
    resumed, unbroken = last(tmp_path / "run"), last(few / "run")
    for state in ("network", "average"):
        ours, theirs = (each[state].get("average", each[state]) for each in (resumed, unbroken))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.filterwarnings("ignore:parsing config_file")
def test_it_is_not_resumed_with_other_images_without_masks(few: Path, tmp_path: Path) -> None:
    shutil.copytree(few / "run", tmp_path / "run")
    path = tmp_path / "data/datalist.json"
    path.parent.mkdir()
    content = json.loads((few / "data/datalist.json").read_text())
    path.write_text(json.dumps({**content, "unlabelled": content["unlabelled"][1:]}))
    with pytest.raises(DelineateError, match="is not the data that the run was begun with"):
        train("skin_lesion", path.parent, tmp_path / "run", resume=True, settings={"max_epochs": 4})


def test_a_bundle_of_before_is_refused(few: Path, tmp_path: Path) -> None:
    shutil.copytree(few / "run", tmp_path / "old", ignore=shutil.ignore_patterns("models", "checkpoints", "logs"))
    config = tmp_path / "old/configs/train.yaml"
    config.write_text(config.read_text().replace("ema:", "before:"))
    with pytest.raises(DelineateError, match=r"made before there was --use-unlabelled"):
        train(tmp_path / "old", few / "data", tmp_path / "run", use_unlabelled=True, trust=True)


class Constant(torch.nn.Module):
    """The same logits for each image; while it is trained with coarser ones besides."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits)[None, :, None, None])

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        fine = self.logits.expand(len(images), -1, *images.shape[2:])
        return [fine, 100 * fine[..., ::2, ::2]] if self.training else fine


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_structure_by_itself_differs_as_it_does_beside_its_background(build: Build, exclusive: bool) -> None:
    training = build([0.5], 1)
    teacher = taught(training)
    logits = ((0.0, 2.0), (0.0, -1.0)) if exclusive else ((2.0,), (-1.0,))
    teacher.network, teacher.teacher = Constant(*logits[0]), Constant(*logits[1]).eval()
    teacher.exclusive = exclusive
    teacher.epoch_started(training.trainer)
    training.trainer.state.iteration, training.trainer.state.epoch_length = 1, 1
    training.trainer.state.output = {"loss": torch.zeros(())}
    teacher.add_difference(training.trainer)
    apart = torch.sigmoid(torch.tensor(2.0)) - torch.sigmoid(torch.tensor(-1.0))
    assert torch.allclose(training.trainer.state.output["loss"], 2 * apart.square())
