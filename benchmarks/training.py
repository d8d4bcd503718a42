"""Seconds of a training epoch, validation included: the bundle's own, a bare PyTorch loop, MONAI's stock trainer.

    python benchmarks/training.py --data DATASET --out benchmarks/training.csv

All train the same network on the same batches, with the same optimizer and loss, and validate image by image:

* ``delineate``: ``train.yaml`` of the bundle as it is shipped, but for its handlers: cache, augmentation,
  PrecisionInferer; masks are validated at each image's own resolution;
* ``plain``: a loop over the same images as tensors in memory, without augmentation, and forward passes over the
  validation images without metrics; contiguous, in the precision of ``delineate``;
* ``channels_last``: the same loop with weights and images laid out as ``delineate`` lays them out, which leaves what
  the bundle does beside the network;
* ``stock``: the engines, cache, augmentation and metrics of ``delineate`` with ``SimpleInferer``, float32, contiguous.

Each has a process of its own, they take turns, and the ratios are of the medians of one run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from backends import flags
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer
from tables import write_table

from delineate.networks import create_network
from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.core.memory import keep_freed_memory
from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.inference.inferer import fastest_precision

BATCH = 8


class Setting(NamedTuple):
    """What is trained, and how."""

    data: Path
    network: str
    side: int
    precision: str
    threads: int


Epoch = tuple[Callable[[], Any], Callable[[], Any]]
"""Train once over all images; validate."""


def engines(setting: Setting, **settings: Any) -> tuple[Any, Any]:
    """The bundle's trainer, which runs one epoch whenever it is run, and its evaluator."""
    keep_freed_memory()  # as train.yaml does in "initialize"
    parser = ConfigParser()
    parser.read_config(str(shipped_bundles()["skin_lesion"] / "configs" / "train.yaml"))
    square = [setting.side, setting.side]
    settings = {"dataset_dir": str(setting.data), "image_size": square, "window": square} | settings
    settings |= {"batch_size": BATCH, "max_epochs": 1, "precision": setting.precision}
    parser.update(settings)
    parser["train"]["trainer"].pop("train_handlers")
    parser["network"] = create_network(setting.network)
    return parser.get_parsed_content("train::trainer"), parser.get_parsed_content("validate::evaluator")


def delineate_epoch(setting: Setting) -> Epoch:
    trainer, evaluator = engines(setting)
    return trainer.run, lambda: evaluator.run(1)


def stock_epoch(setting: Setting) -> Epoch:
    simple = SimpleInferer()
    trainer, evaluator = engines(setting, **{"train::inferer": simple, "validate::inferer": simple})
    return trainer.run, lambda: evaluator.run(1)


def plain_epoch(setting: Setting, layout: torch.memory_format = torch.contiguous_format) -> Epoch:
    trainer, evaluator = engines(setting)  # for their items, loss and optimizer only
    training, validation = (engine.data_loader.dataset.data for engine in (trainer, evaluator))
    images, unseen = (
        torch.stack([one["image"].as_tensor() for one in each]).float() / 255 for each in (training, validation)
    )
    labels = torch.stack([torch.as_tensor(one["label"]) for one in training]).float()
    images, unseen = images.contiguous(memory_format=layout), unseen.contiguous(memory_format=layout)
    net, loss, optimizer = trainer.network.to(memory_format=layout), trainer.loss_function, trainer.optimizer
    learns, infers = (_autocast(setting, learner) for learner in (net, None))

    def train() -> None:
        net.train()
        for first in range(0, len(images), BATCH):
            optimizer.zero_grad()
            with learns:
                logits = net(images[first : first + BATCH])
            loss(logits.float(), labels[first : first + BATCH]).backward()
            optimizer.step()

    def validate() -> None:
        net.eval()
        with torch.no_grad(), infers:
            for image in unseen:
                net(image[None])

    return train, validate


def _autocast(setting: Setting, learner: object) -> Any:
    fastest = fastest_precision(torch.device("cpu"), learner)[0]
    dtype = fastest if setting.precision == "auto" else getattr(torch, setting.precision)
    return nullcontext() if dtype == torch.float32 else torch.autocast("cpu", dtype)


RUNNERS: dict[str, Callable[[Setting], Epoch]] = {
    "delineate": delineate_epoch,
    "plain": plain_epoch,
    "channels_last": partial(plain_epoch, layout=torch.channels_last),
    "stock": stock_epoch,
}


def timed(parts: Epoch) -> Iterator[tuple[float, float]]:
    """Seconds of each training epoch and each validation."""
    while True:
        start = time.perf_counter()
        parts[0]()
        middle = time.perf_counter()
        parts[1]()
        yield middle - start, time.perf_counter() - middle


def work(name: str, setting: Setting, pipe: Connection) -> None:
    """An epoch whenever one is asked for; each trainer has a process of its own, with its own memory."""
    torch.set_num_threads(setting.threads)
    epochs = timed(RUNNERS[name](setting))
    while pipe.recv():
        pipe.send(next(epochs))


def measure(setting: Setting, turns: int, names: list[str]) -> dict[str, list[tuple[float, float]]]:
    """Seconds of training and validation of each trainer; they take turns, after one epoch each to warm up."""
    spawn, pipes = get_context("spawn"), {}
    for name in names:
        pipes[name], theirs = spawn.Pipe()
        spawn.Process(target=work, args=(name, setting, theirs), daemon=True).start()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(turns + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            taken = pipe.recv()
            if turn:
                seconds[name].append(taken)
    for pipe in pipes.values():
        pipe.send(False)
    return seconds


def rows_of(setting: Setting, seconds: dict[str, list[tuple[float, float]]]) -> Iterator[dict[str, Any]]:
    epochs = {name: statistics.median(map(sum, taken)) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        training, validation = (statistics.median(part) for part in zip(*taken, strict=True))
        row = {"network": setting.network, "image_size": setting.side, "trainer": name}
        row |= {"turns": len(taken), "training_s": round(training, 3), "validation_s": round(validation, 3)}
        row |= {"epoch_s": round(epochs[name], 3), "ratio_to_plain": round(epochs[name] / epochs["plain"], 3)}
        row |= {"precision": setting.precision if name != "stock" else "float32", "threads": setting.threads}
        row |= {"cpu": cpu_name(), "flags": flags(), "torch": versions()["torch"], "monai": versions()["monai"]}
        yield row | {"commit": commit()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--networks", nargs="+", default=["ultra_light_unet"])
    arguments.add_argument("--sides", nargs="+", type=int, default=[128, 256])
    arguments.add_argument("--precisions", nargs="+", default=["float32", "auto"])
    arguments.add_argument("--trainers", nargs="+", choices=RUNNERS, default=list(RUNNERS), help="plain is always one")
    arguments.add_argument("--turns", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = arguments.parse_args()
    rows = []
    for network in options.networks:
        for side in options.sides:
            for precision in options.precisions:
                setting = Setting(options.data, network, side, precision, options.threads)
                seconds = measure(setting, options.turns, list(dict.fromkeys([*options.trainers, "plain"])))
                for row in rows_of(setting, seconds):
                    print({name: value for name, value in row.items() if name != "flags"}, flush=True)
                    rows.append(row)
    write_table(options.out, rows)


if __name__ == "__main__":
    main()
