"""Seconds to segment 200 photos of 1022x767 from disk to mask PNG, as a ratio to decoding and inference alone.

    python benchmarks/archive.py --images 'photos/*.jpg' --out benchmarks/archive.csv

Any photos: they are resized to 1022x767 and saved as JPEG before anything is timed. Taking turns, so that all see the
same machine, with torch's usual threads:

* ``decoding``: Pillow decodes each file, one after the other, and nothing else;
* ``inference``: the bundle's inferer on prepared images in memory, one after the other, and nothing else;
* ``segment``: what ``delineate segment`` does, masks, table and records included;
* ``one_by_one``: the same without anything done ahead, in threads;
* ``again``: the same call with ``--skip-existing`` once all is done.

``ratio`` is a median beside the median of decoding and inference together. ``rss_mb`` is the most memory of the process
so far. With ``--memory N`` it segments N small made images once, and prints the memory as it goes, instead.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import torch
from PIL import Image
from tables import write_table

from delineate.pipelines.core.cores import use_own_cores
from delineate.pipelines.core.memory import keep_freed_memory
from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.inference.inputs import find_images
from delineate.pipelines.inference.results import ResultFolder
from delineate.pipelines.inference.segmenter import Segmenter

SIZE, QUALITY, WARM = (1022, 767), 92, 10


def make_photos(images: list[str], count: int, folder: Path) -> list[str]:
    """Photos of one size; where there are fewer images than wanted, they come again."""
    files = [folder / f"{number:05}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        with Image.open(images[number % len(images)]) as image:
            image.convert("RGB").resize(SIZE).save(file, quality=QUALITY)
    return [str(file) for file in files]


def decode(photos: list[str]) -> None:
    for photo in photos:
        with Image.open(photo) as image:
            np.asarray(image.convert("RGB"))


def infer(segmenter: Segmenter, prepared: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for image in prepared:
            segmenter.inferer(image, segmenter.network)


def segment(segmenter: Segmenter, photos: list[str], out: Path, ahead: bool = True, skip: bool = False) -> None:
    """As the command does it; an iterator is never read ahead."""
    folder = ResultFolder(out, segmenter.facts, segmenter.thresholds, settings={})
    sources = photos if ahead else iter(photos)
    for result in segmenter.segment(sources, skip=lambda item: folder.is_done(item) and skip):
        folder.write(result)


def measure(segmenter: Segmenter, photos: list[str], turns: int) -> dict[str, list[float]]:
    """Seconds of each turn."""
    items = find_images(photos)
    prepared = [segmenter.preprocessing(item)["image"][None] for item in items]
    seconds: dict[str, list[float]] = {}
    for _ in range(turns):
        with TemporaryDirectory(dir=Path(photos[0]).parent) as place:
            out = Path(place)
            ways: dict[str, Callable[[], None]] = {
                "decoding": lambda: decode(photos),
                "inference": lambda: infer(segmenter, prepared),
                "segment": lambda out=out: segment(segmenter, photos, out / "a"),
                "one_by_one": lambda out=out: segment(segmenter, photos, out / "b", ahead=False),
                "again": lambda out=out: segment(segmenter, photos, out / "a", skip=True),
            }
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    return seconds


def rss_mb() -> int:
    return int(psutil.Process().memory_info().rss) >> 20


def watch_memory(segmenter: Segmenter, count: int, place: Path) -> None:
    """Print the memory after every 500 of small made images."""
    rng = np.random.default_rng(0)
    (place / "in").mkdir()
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(place / "in" / f"{number:05}.png")
    folder = ResultFolder(place / "out", segmenter.facts, segmenter.thresholds, settings={})
    start = time.perf_counter()
    for number, result in enumerate(segmenter.segment([place / "in"], skip=folder.is_done), start=1):
        folder.write(result)
        if number % 500 == 0:
            print(f"{number} images, {time.perf_counter() - start:.0f} s, {rss_mb()} MB", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bundle", default="skin_lesion")
    arguments.add_argument("--images", default="")
    arguments.add_argument("--count", type=int, default=200)
    arguments.add_argument("--turns", type=int, default=5)
    arguments.add_argument("--memory", type=int, default=0)
    arguments.add_argument("--out", type=Path)
    asked = arguments.parse_args()
    keep_freed_memory()
    use_own_cores()
    segmenter = Segmenter(asked.bundle)
    with TemporaryDirectory() as place:
        if asked.memory:
            watch_memory(segmenter, asked.memory, Path(place))
            return
        photos = make_photos(sorted(glob(asked.images)), asked.count, Path(place))
        measure(segmenter, photos[:WARM], 1)
        seconds = {name: statistics.median(each) for name, each in measure(segmenter, photos, asked.turns).items()}
    alone = seconds["decoding"] + seconds["inference"]
    about = {"bundle": asked.bundle, "images": len(photos), "size": "x".join(map(str, SIZE)), "turns": asked.turns}
    about |= {"threads": torch.get_num_threads(), "cpu": cpu_name(), "rss_mb": rss_mb()}
    about |= {name: versions()[name] for name in ("torch", "monai", "pillow")} | {"commit": commit()}
    rows = [
        {
            "way": name,
            "seconds": round(each, 3),
            "images_s": round(len(photos) / each, 1),
            "ratio": round(each / alone, 3),
        }
        | about
        for name, each in seconds.items()
    ]
    for row in rows:
        print(row, flush=True)
    if asked.out:
        write_table(asked.out, rows)


if __name__ == "__main__":
    main()
