"""Delineate beside nnU-Net, segmentation_models.pytorch and MONAI: milliseconds of an image, of files, peak memory.

In an environment of its own:

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install torch==2.13.0    # a build for CPUs: --index-url https://download.pytorch.org/whl/cpu
    /tmp/peers/bin/pip install -c constraints.txt -e ".[onnx,openvino]"
    /tmp/peers/bin/pip install -c constraints.txt nnunetv2==2.8.1 segmentation-models-pytorch==0.6.0
    /tmp/peers/bin/python benchmarks/peers.py --images 'photos/*.jpg' --out benchmarks/peers.csv

Without ``-c constraints.txt`` pip may replace torch by a build for CUDA. torchvision, which a peer wants, is one for
CUDA whatever is done: see ``_smp`` in peers_ways.py.

``what`` of a row is ``image``: from an image of 256x256x3 in memory to its mask, by the network, a sigmoid and a
threshold; or ``files``: from PNG of 256x256 to PNG of masks. Each way is a process of its own, and those of networks of
about as many parameters take turns, in blocks of calls of which the first is not counted, while the others wait.
``ratio`` is how many times as long it takes as ``delineate`` does with the same network. ``peak_mb`` is the most memory
of the process, libraries included; where files are segmented by several processes, the sum of all is looked at five
times a second (pages that they share are divided among them).
``same_pixels`` is the share of pixels that are as those of the network's first way in float32.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import glob
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from PIL import Image

SIDE, BLOCKS, CALLS, TURNS = 256, 3, 4, 2
OWN = ("delineate torch float32", "delineate", "delineate onnxruntime", "delineate openvino", "monai", "nnunetv2")
OTHER = ("delineate", "smp", "smp autocast")
GROUPS: tuple[dict[str, Sequence[str]], ...] = (
    {"unet": OWN, "nnunet_plain": ("delineate", "nnunetv2"), "smp_resnet50": OTHER},
    {"efficient_lite_unet": OWN, "smp_lite0": OTHER},
)
FILES = {"unet": 16, "efficient_lite_unet": 60}
BY_FILES = ("delineate", "monai", "nnunetv2", "nnunetv2 in one process")
Row = dict[str, Any]


class Child:
    """A way in a process of its own, which is asked one thing after the other."""

    def __init__(self, way: str, network: str, folder: Path, threads: int) -> None:
        self.way, self.network = way, network
        self._pipe, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=serve, args=(other, way, network, folder, threads))
        self.process.start()
        other.close()

    def ask(self, *words: Any) -> Any:
        self._pipe.send(words)
        return self.answer()

    def answer(self) -> Any:
        found = self._pipe.recv()  # EOFError where it died
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        with suppress(OSError):
            self._pipe.send(None)
        self.process.join(60)


def serve(pipe: Connection, way: str, network: str, folder: Path, threads: int) -> None:
    """What a child does."""
    with suppress(EOFError):
        try:
            from peers_ways import way_of

            made = way_of(way, network, folder, threads)
            pipe.send(None)
        except Exception as error:
            pipe.send(RuntimeError(f"{way}, {network}: {error!r}"))
            return
        while words := pipe.recv():
            try:
                pipe.send(_answer(made, *words))
            except Exception as error:
                pipe.send(RuntimeError(f"{way}, {network}: {error!r}"))


def _answer(made: Any, what: str, *given: Any) -> Any:
    if what == "peak":
        return peak_mb()
    if what == "mask":
        return made.mask(*given)
    if what == "image":
        image, calls = given
        return [timed(made.mask, image) for _ in range(calls)]
    return timed(made.files, *given)


def timed(call: Any, *given: Any) -> float:
    begin = time.perf_counter()
    call(*given)
    return time.perf_counter() - begin


def peak_mb() -> float:
    """Of this process, as Linux counts it; one that was spawned begins at nothing."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


@contextmanager
def started(ways: Sequence[tuple[str, str]], folder: Path, threads: int) -> Iterator[list[Child]]:
    """Children that are ready."""
    with ExitStack() as stack:
        children = [Child(way, network, folder, threads) for network, way in ways]
        for child in children:
            stack.callback(child.close)
        for child in children:
            child.answer()
        yield children


def measure_images(
    group: dict[str, Sequence[str]], folder: Path, image: np.ndarray, blocks: int, threads: int
) -> Iterator[Row]:
    """The rows of one group of networks."""
    ways = [(network, way) for network, each in group.items() for way in each]
    seconds: dict[Child, list[float]] = {}
    with started(ways, folder, threads) as children:
        for _ in range(blocks):
            for child in children:
                seconds.setdefault(child, []).extend(child.ask("image", image, CALLS)[1:])
        masks = {child: child.ask("mask", image) for child in children}
        peaks = {child: child.ask("peak") for child in children}
    medians = {(child.network, child.way): statistics.median(each) for child, each in seconds.items()}
    references: dict[str, np.ndarray] = {}
    for child in children:
        if "float32" in child.way or child.way in ("smp", "nnunetv2"):
            references.setdefault(child.network, masks[child])
    for child in children:
        same = float(np.mean(masks[child] == references[child.network]))
        own = medians[child.network, child.way]
        yield {
            **{"network": child.network, "what": "image", "way": child.way, "images": 1},
            **{"ms": 1000 * own, "ratio": own / medians[child.network, "delineate"]},
            **{"peak_mb": peaks[child], "same_pixels": same},
        }


def measure_files(network: str, folder: Path, photos: Path, turns: int, threads: int) -> Iterator[Row]:
    """The rows of a folder."""
    images = len(list(photos.iterdir()))
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    with started([(network, way) for way in BY_FILES], folder, threads) as children:
        for turn in range(turns):
            for child in children:
                with TemporaryDirectory(dir=folder) as out, most_memory(child.process.pid) as most:
                    seconds.setdefault(child.way, []).append(child.ask("files", photos, Path(out) / str(turn)))
                    made = len(list((Path(out) / str(turn)).glob("*.png")))
                assert made == images, f"{child.way}: {made} masks of {images}"
                peaks[child.way] = max(peaks.get(child.way, 0), child.ask("peak"), *most)
    medians = {way: statistics.median(each) for way, each in seconds.items()}
    for child in children:
        yield {
            **{"network": network, "what": "files", "way": child.way, "images": images},
            **{"ms": 1000 * medians[child.way] / images, "ratio": medians[child.way] / medians["delineate"]},
            **{"peak_mb": peaks[child.way], "same_pixels": ""},
        }


@contextmanager
def most_memory(pid: int | None) -> Iterator[list[float]]:
    """While the block runs, look at what a process and its children hold together, in a thread."""
    from threading import Event, Thread

    seen, over = [0.0], Event()

    def watch() -> None:
        while not over.wait(0.2):
            with suppress(psutil.Error):
                tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
                if len(tree) > 1:
                    seen.append(sum(one.memory_full_info().pss for one in tree) / 1e6)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def prepare(folder: Path, networks: Sequence[str], image: np.ndarray) -> dict[str, dict[str, Any]]:
    """Weights, bundles and graphs, in a process that ends; parameters and MACs of each network."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_prepare, (folder, networks, image))


def _prepare(folder: Path, networks: Sequence[str], image: np.ndarray) -> dict[str, dict[str, Any]]:
    import torch
    from peers_ways import build, make_weights, settings_of, way_of
    from torch.utils.flop_counter import FlopCounterMode

    from delineate.pipelines.bundling.bundles import choices, new_bundle
    from delineate.pipelines.core.sums import write_sums

    facts: dict[str, dict[str, Any]] = {}
    for name in networks:
        network = build(name).eval()
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            network(torch.rand(1, 3, SIDE, SIDE))
        parameters = sum(each.numel() for each in network.parameters())
        facts[name] = {"parameters": parameters, "gmacs": round(counted.get_total_flops() / 2e9, 3)}
        weights = make_weights(name, image)
        torch.save(weights, folder / f"{name}.pt")
        if name in choices("networks"):
            settings = {f"network_def::{key}": value for key, value in settings_of(name).items()}
            bundle = new_bundle(folder / name, "skin_lesion", name, settings={"image_size": [SIDE, SIDE], **settings})
            (bundle / "models").mkdir()
            torch.save(weights, bundle / "models" / "model.pt")
            write_sums(bundle / "models", ["model.pt"])
            way_of("delineate onnxruntime", name, folder, 2)  # writes the graph, for OpenVINO too
    return facts


def make_photos(images: Sequence[str], count: int, folder: Path) -> Path:
    """PNG, named as nnU-Net wants them; where there are fewer images than wanted, they come again."""
    folder.mkdir()
    for number in range(count):
        with Image.open(images[number % len(images)]) as image:
            image.convert("RGB").resize((SIDE, SIDE)).save(folder / f"{number:04}_0000.png")
    return folder


def packages() -> str:
    from importlib.metadata import version

    names = ("torch", "monai", "nnunetv2", "segmentation-models-pytorch", "onnxruntime", "openvino")
    return ", ".join(f"{name} {version(name)}" for name in names)


def measure(asked: argparse.Namespace, folder: Path) -> Iterator[Row]:
    images = sorted(glob(asked.images))
    if not images:
        sys.exit(f"{asked.images}: there are no such images")
    counts = {name: min(count, asked.files) for name, count in FILES.items()}
    photos = {name: make_photos(images, count, folder / f"photos_{name}") for name, count in counts.items()}
    with Image.open(photos["unet"] / "0000_0000.png") as opened:
        image = np.asarray(opened)
    facts = prepare(folder, [name for group in GROUPS for name in group], image)
    for group in GROUPS:
        for row in measure_images(group, folder, image, asked.blocks, asked.threads):
            yield row | facts[row["network"]]
    for name, each in photos.items():
        for row in measure_files(name, folder, each, asked.turns, asked.threads):
            yield row | facts[name]


def main() -> None:
    """Measure, write the table."""
    import os

    from backends import flags
    from tables import write_table

    from delineate.pipelines.core.cores import usable_cores
    from delineate.pipelines.core.versions import commit, cpu_name

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--files", type=int, default=max(FILES.values()), help="at most so many")
    parser.add_argument("--threads", type=int, default=usable_cores())
    asked = parser.parse_args()
    about = {"threads": asked.threads, "cpu": cpu_name(), "flags": flags(), "versions": packages(), "commit": commit()}
    rows: list[Row] = []
    with TemporaryDirectory(prefix="peers-") as place:
        os.environ["XDG_CACHE_HOME"] = place  # where children find the graphs
        for row in measure(asked, Path(place)):
            rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
            print(rounded, flush=True)
            rows.append(rounded | about)
    write_table(asked.out, rows)


if __name__ == "__main__":
    main()
