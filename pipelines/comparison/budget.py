"""Minutes of training turned into steps, before the training, so that what is trained stays repeatable."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Mapping
from itertools import cycle, islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from ..bundling.bundles import change_bundle, copy_bundle
from ..core.errors import DelineateError

if TYPE_CHECKING:
    import torch

FEWEST_STEPS = 6  # OneCycleLR divides by zero below
WARM_UP, TIMED, IMAGES = 2, 4, 8
_VALIDATIONS, _SHARE, _MOST = 5, 0.15, 0.5


class Plan(NamedTuple):
    """How long a training is, in the ids of ``train.yaml``; ``max_epochs`` is a multiple of ``val_interval``."""

    max_epochs: int
    epoch_length: int
    val_interval: int


class Trial(NamedTuple):
    """What a training costs: seconds of a step, seconds of a validation, batches that hold all the items."""

    step_s: float
    validation_s: float
    batches: int


def plan_epochs(step_s: float, validation_s: float, batches: int, minutes: float) -> Plan:
    """The longest training whose steps and validations fit into the budget.

    There are at least 5 validations where they take less than half of the budget, and more, one after each time that
    all batches were seen, where they take at most 15 % of it.

    Args:
        step_s: seconds of a step, positive.
        validation_s: seconds of a validation.
        batches: what an epoch has at most.
        minutes: the budget.

    Raises:
        DelineateError: when there is no time for ``FEWEST_STEPS`` steps and a validation.
    """
    seconds = 60 * minutes
    least = FEWEST_STEPS * step_s + validation_s
    if seconds < least:
        raise DelineateError(
            f"{minutes:g} minutes are too few: {FEWEST_STEPS} steps of {step_s:.2g} s and a validation of "
            f"{validation_s:.2g} s take {least / 60:.2g}; give more minutes, smaller images or a smaller batch"
        )
    affordable = seconds / max(validation_s, 1e-9)
    fewest = min(_VALIDATIONS, _MOST * affordable, seconds / least)
    natural = min(math.ceil(seconds / (batches * step_s + validation_s)), seconds / (step_s + validation_s))
    rounds = max(1, int(fewest), int(min(natural, _SHARE * affordable)))
    steps = max(1, int((seconds / rounds - validation_s) / step_s))  # between two validations
    interval = math.ceil(steps / batches)
    return Plan(rounds * interval, steps // interval, interval)


def time_training(
    bundle: Path, dataset_dir: Path, values: Mapping[str, Any], overlays: list[Path], seconds: float = 0.0
) -> Trial:
    """Try a training out: a few steps and validated images, in its own precision; medians count.

    Reading the images into the cache is no part of a step.

    Args:
        bundle: the bundle's folder; it is left alone.
        dataset_dir: the data set's folder.
        values: what the training changes in the bundle, as :func:`~.bundles.change_bundle` takes it.
        overlays: the same.
        seconds: how long steps are taken at least, ``TIMED`` of them in any case.
    """
    with TemporaryDirectory() as draft:
        copy_bundle(bundle, Path(draft) / "bundle")
        change_bundle(Path(draft) / "bundle", values, overlays)
        trial = _try_out(Path(draft) / "bundle", dataset_dir, seconds)
    gc.collect()  # engines and their handlers refer to each other
    return trial


def _try_out(bundle: Path, dataset_dir: Path, seconds: float) -> Trial:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.yaml"))
    parser.update({"bundle_root": str(bundle), "dataset_dir": str(dataset_dir), "max_epochs": 10**6})
    parser.get_parsed_content("initialize")
    items, held_out = (parser.get_parsed_content(f"{part}::items") for part in ("train", "validate"))
    batch = int(parser.get_parsed_content("batch_size"))
    parser["train"]["trainer"].pop("train_handlers")
    parser["train"]["items"] = list(islice(cycle(items), (WARM_UP + TIMED) * batch))
    parser["validate"]["items"] = list(islice(cycle(held_out), WARM_UP + IMAGES))
    parser.parse()
    step_s = _seconds(parser.get_parsed_content("train::trainer"), seconds)
    image_s = _seconds(parser.get_parsed_content("validate::evaluator"), math.inf)  # ends by itself
    return Trial(step_s, image_s * len(held_out), math.ceil(len(items) / batch))


def _seconds(engine: Any, at_least: float) -> float:
    """The median of an engine's iterations, data included, without the first ``WARM_UP``."""
    from ignite.engine import Events

    ends: list[float] = []

    def iteration_completed(engine: Any) -> None:
        ends.append(now(engine.state.device))
        if len(ends) >= WARM_UP + TIMED and ends[-1] - ends[WARM_UP - 1] >= at_least:
            engine.terminate()

    engine.add_event_handler(Events.ITERATION_COMPLETED, iteration_completed)
    engine.run()
    return statistics.median(later - earlier for earlier, later in pairwise(ends[WARM_UP - 1 :]))


def now(device: torch.device) -> float:
    """Seconds; a GPU has then done what it was told to."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
