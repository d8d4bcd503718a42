"""Seconds an epoch of reading: every image decoded anew, or cached in memory, on disk, or streamed.

    python benchmarks/caches.py --data DATASET --out benchmarks/caches.csv

All prepare the training images of a data set as ``train.yaml`` of the bundle does before its augmentation, on a grid of
256x256, one after the other in one thread:

* ``plain``: the transforms, called on every item in every epoch, without any data set class;
* ``memory``, ``disk``, ``streaming``: what ``cached_dataset`` gives with memory enough, with too little, and with too
  little and no folder. What it does before the first epoch, filling the memory included, counts to the first.

They take turns, each its epoch, so that all see the same machine. ``first_s`` is the first epoch, ``later_s`` the
median of those after it; the ratios are to ``plain`` in the same run. Images and entries are read from the system's own
file cache; ``memory`` hands out what it holds, uncopied.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from monai.bundle import ConfigParser
from tables import write_table

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.loading.caches import cached_dataset
from delineate.pipelines.loading.datasets import Fields, load_datalist

SIZE, EPOCHS = 256, 4
Way = Callable[[Fields], Fields]


def training_way() -> Way:
    """What the bundle does before the cache."""
    parser = ConfigParser()
    parser.read_config(str(shipped_bundles()["skin_lesion"] / "configs" / "train.yaml"))
    parser["image_size"] = [SIZE, SIZE]
    way: Way = parser.get_parsed_content("train::cached::transform")
    return way


def plain_epochs(items: list[Fields], way: Way) -> Iterator[float]:
    """Seconds of each epoch."""
    while True:
        start = time.perf_counter()
        for item in items:
            way(item)
        yield time.perf_counter() - start


def cached_epochs(items: list[Fields], way: Way, *cache: Any) -> Iterator[float]:
    """Seconds of each epoch; the first makes the cache, too."""
    start = time.perf_counter()
    data = cached_dataset(items, way, *cache)
    while True:
        for index in range(len(data)):
            data[index]
        yield time.perf_counter() - start
        start = time.perf_counter()


def measure(items: list[Fields], way: Way, folder: str) -> dict[str, list[float]]:
    """Seconds of each epoch of each cache; they take turns."""
    next(plain_epochs(items[:100], way))  # warms up
    runners = {
        "plain": plain_epochs(items, way),
        "memory": cached_epochs(items, way, None, 1000),
        "disk": cached_epochs(items, way, folder, 0),
        "streaming": cached_epochs(items, way, None, 0),
    }
    turns = [{name: next(epochs) for name, epochs in runners.items()} for _ in range(EPOCHS)]
    return {name: [turn[name] for turn in turns] for name in runners}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    items = load_datalist(options.data, "training")
    with TemporaryDirectory(dir=options.out.parent) as folder:
        seconds = measure(items, training_way(), folder)
        disk_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
    plain = statistics.median(seconds["plain"][1:])
    rows = []
    for name, (first, *later) in seconds.items():
        median = statistics.median(later)
        row = {
            "cache": name,
            "images": len(items),
            "first_s": round(first, 4),
            **{f"epoch{number}_s": round(value, 4) for number, value in enumerate(later, start=2)},
            "later_s": round(median, 4),
            "images_s": round(len(items) / median, 1),
            "ratio_to_plain": round(plain / median, 2),
            "first_ratio_to_plain": round(seconds["plain"][0] / first, 2),
            "disk_mb": round(disk_mb, 1) if name == "disk" else "",
            "cpu": cpu_name(),
            "threads": 1,
            "torch": versions()["torch"],
            "monai": versions()["monai"],
            "commit": commit(),
        }
        print(row, flush=True)
        rows.append(row)
    write_table(options.out, rows)


if __name__ == "__main__":
    main()
