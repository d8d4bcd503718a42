from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from tiny_training import Build, Training
from torch import nn

from delineate.pipelines.training.average import WeightAverage, copy_network, kept_network
from delineate.pipelines.training.checkpoint import CheckpointSaver


def averaged(training: Training, ema: float = 0.75) -> WeightAverage:
    """An average that is attached to a training, validated and part of its state."""
    average = WeightAverage(training.network, kept_network(training.network, ema), ema)
    average.attach(training.trainer)
    training.validator.network = average.average
    training.saver.save_dict["average"] = average
    return average


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_without_an_average_the_network_itself_is_kept(build: Build) -> None:
    network = build([0.5], 1).network
    assert kept_network(network, 0) is network
    assert WeightAverage(network, network, 0).state_dict() == {}


def test_it_begins_as_the_network_is_when_training_starts(build: Build) -> None:
    training = build([0.5], 1)
    average = averaged(training)
    nn.init.constant_(training.network.weight, 3.0)  # type: ignore[arg-type]
    average.begin(training.trainer)
    assert same(average.average, training.network)


def test_it_is_the_exponential_mean_of_all_the_weights_there_were(build: Build) -> None:
    training = build([0.5], 3)
    average, seen = averaged(training), [training.weights().clone()]
    follow = average.follow

    def note(engine: Engine) -> None:
        seen.append(training.weights().clone())
        follow(engine)

    average.follow = note  # type: ignore[method-assign]
    for step in range(1, 40):
        torch.nn.init.constant_(training.network.weight, step)  # type: ignore[arg-type]
        average.follow(training.trainer)
    expected = seen[0]
    for step, weights in enumerate(seen[1:], 1):
        stays = min(0.75, step / (step + 10))
        expected = stays * expected + (1 - stays) * weights
    found = torch.cat([p.flatten() for p in average.average.parameters()])
    torch.testing.assert_close(found, expected)


def test_statistics_are_averaged_and_counts_are_copied() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = WeightAverage(network, copy_network(network), 0.5)
    average.steps = 1000
    network[1].running_mean.fill_(4.0)
    network[1].num_batches_tracked.fill_(7)
    average.follow(Engine(lambda *_: None))
    assert average.average[1].running_mean.tolist() == [2.0, 2.0]
    assert int(average.average[1].num_batches_tracked) == 7


def test_the_network_learns_as_without_an_average(build: Build) -> None:
    alone, other = build([0.5] * 2, 2), build([0.5] * 2, 2)
    alone.run()
    other.network.load_state_dict(build([0.5], 1).network.state_dict())
    averaged(other)
    other.run()
    assert torch.equal(alone.weights(), other.weights())


def test_what_is_kept_is_the_average(build: Build, tmp_path: Path) -> None:
    training = build([0.5], 1)
    average = averaged(training)
    training.run()
    kept = torch.load(tmp_path / "models/model.pt", weights_only=True)
    assert all(torch.equal(kept[name], value) for name, value in average.average.state_dict().items())
    assert not same(average.average, training.network)


def test_a_resumed_training_ends_in_the_same_bits(build: Build, tmp_path: Path) -> None:
    whole = build([0.1, 0.2, 0.3, 0.4], 4)
    unbroken = averaged(whole)
    whole.run()
    for path in tmp_path.rglob("*.pt"):
        path.unlink()
    first = build([0.1, 0.2], 2)
    averaged(first)
    first.run()
    second = build([0.3, 0.4], 4, resume=True)
    resumed = averaged(second)
    second.run()
    assert resumed.steps == unbroken.steps == 8
    assert same(resumed.average, unbroken.average)
    assert torch.equal(whole.weights(), second.weights())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_state_has_an_average_where_there_is_one(build: Build, tmp_path: Path, ema: float) -> None:
    training = build([0.5], 1)
    average = averaged(training, ema)
    assert isinstance(training.saver, CheckpointSaver)
    training.run()
    state = torch.load(tmp_path / "checkpoints/last.pt", weights_only=True)["average"]
    assert state.keys() == average.state_dict().keys() == ({"average", "steps"} if ema else set())
