"""Seconds a training step: the bundle's own training, a plain PyTorch loop, MONAI's stock trainer.

    python benchmarks/training.py --data DATASET --out benchmarks/training.csv

All train the same network on the same items at 256x256, batch 4, with the same optimizer and loss:

* ``delineate``: ``train.yaml`` of the bundle as it is shipped: cache, augmentation, PrecisionInferer;
* ``plain``: float32, contiguous, a loop over the same images as tensors in memory, without any augmentation;
* ``stock``: ``SupervisedTrainer`` with the same cache, augmentation and loader, ``SimpleInferer``, float32, contiguous.

Each has a process of its own, they take turns, and the ratios are of the medians of one run.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer

from delineate.networks import create_network
from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.core.memory import keep_freed_memory
from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.inference.inferer import fastest_precision

BATCH, SIZE, THREADS = 4, 256, min(2, os.cpu_count() or 1)


def bundle_trainer(data: Path, network: str, **settings: Any) -> Any:
    parser = ConfigParser()
    parser.read_config(str(shipped_bundles()["skin_lesion"] / "configs" / "train.yaml"))
    settings = {
        "dataset_dir": str(data),
        "batch_size": BATCH,
        "image_size": [SIZE, SIZE],
        "max_epochs": 1000,
    } | settings
    parser.update(settings)
    parser["train"]["trainer"].pop("train_handlers")
    parser["network"] = create_network(network)
    return parser.get_parsed_content("train::trainer")


def engine_steps(trainer: Any) -> Iterator[float]:
    """Seconds of each step, data and augmentation included; the engine stands still between them."""
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: engine.interrupt())
    while True:
        start = time.perf_counter()
        trainer.run()
        yield time.perf_counter() - start


def delineate_steps(data: Path, network: str) -> Iterator[float]:
    keep_freed_memory()  # as train.yaml does in "initialize"
    return engine_steps(bundle_trainer(data, network))


def stock_steps(data: Path, network: str) -> Iterator[float]:
    return engine_steps(bundle_trainer(data, network, **{"train::inferer": SimpleInferer()}))


def plain_steps(data: Path, network: str) -> Iterator[float]:
    trainer = bundle_trainer(data, network)  # for its items, loss and optimizer only
    items = [trainer.data_loader.dataset.data[i] for i in range(min(64, len(trainer.data_loader.dataset)))]
    images = torch.stack([item["image"].as_tensor() for item in items]).float() / 255
    labels = torch.stack([torch.as_tensor(item["label"]) for item in items]).float()
    net, loss, optimizer = trainer.network, trainer.loss_function, trainer.optimizer
    net.train()
    for first in cycle(range(0, len(images) - BATCH + 1, BATCH)):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss(net(images[first : first + BATCH]), labels[first : first + BATCH]).backward()
        optimizer.step()
        yield time.perf_counter() - start


RUNNERS: dict[str, Callable[[Path, str], Iterator[float]]] = {
    "delineate": delineate_steps,
    "plain": plain_steps,
    "stock": stock_steps,
}


def work(name: str, data: Path, network: str, pipe: Connection) -> None:
    """Take one step whenever asked to; each trainer has a process of its own, with its own memory."""
    torch.set_num_threads(THREADS)
    steps = RUNNERS[name](data, network)
    while pipe.recv():
        pipe.send(next(steps))


def measure(data: Path, network: str, steps: int) -> dict[str, list[float]]:
    """Seconds of each step of each trainer; they take turns."""
    spawn, pipes = get_context("spawn"), {}
    for name in RUNNERS:
        pipes[name], theirs = spawn.Pipe()
        spawn.Process(target=work, args=(name, data, network, theirs), daemon=True).start()
    seconds: dict[str, list[float]] = {name: [] for name in RUNNERS}
    for step in range(steps + 2):
        for name, pipe in pipes.items():
            pipe.send(True)
            taken = pipe.recv()
            if step >= 2:  # the first two warm up
                seconds[name].append(taken)
    for pipe in pipes.values():
        pipe.send(False)
    return seconds


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--networks", nargs="+", default=["ultra_light_unet", "unet"])
    options = arguments.parse_args()
    precision = str(fastest_precision(torch.device("cpu"))[0]).removeprefix("torch.")
    rows = []
    for network in options.networks:
        seconds = measure(options.data, network, steps=5 if network == "unet" else 20)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name, values in seconds.items():
            row = {
                "network": network,
                "trainer": name,
                "steps": len(values),
                "median_s": round(medians[name], 4),
                "min_s": round(min(values), 4),
                "max_s": round(max(values), 4),
                "ratio_to_delineate": round(medians[name] / medians["delineate"], 2),
                "precision": precision if name == "delineate" else "float32",
                "cpu": cpu_name(),
                "threads": THREADS,
                "torch": versions()["torch"],
                "monai": versions()["monai"],
                "commit": commit(),
            }
            print(row, flush=True)
            rows.append(row)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
