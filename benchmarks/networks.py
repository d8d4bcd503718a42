"""What each network costs on this machine: time of an image, images a second in training, peak memory.

    python benchmarks/networks.py --out benchmarks/networks.csv
    python benchmarks/networks.py --out benchmarks/networks.csv --append --device cuda
    python benchmarks/networks.py --out benchmarks/networks.csv --append --networks unet cmunext

Of each network, with 3 channels in and 1 out, untrained:

* inference: one image of 256x256, or of the next size that the network takes (``side``);
* training: batches of 4 at 128x128 or the next size (``training_side``), forward, loss, backward, AdamW;
* ``float32``: plain PyTorch, contiguous; ``default``: what ``PrecisionInferer`` chooses (``precision``), channels_last.
  One after the other, medians of at least 5 calls and 3 s, after 2 that do not count;
* ``_mb``: what the process holds at most with the network, in default precision, less what it held before it (10^6
  bytes); on a GPU what PyTorch allocates there.

Inference and training in each precision have a process of their own: what one leaves in the caches and on the heap made
the other up to twice as slow. In default precision freed memory is kept, as the bundles do. A network that fails has
the reason in its row (``error``), and the rest go on. Leave the machine alone meanwhile: where others want the same
cores, each thread waits for the other, and figures are many times too high.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from monai.losses import DeepSupervisionLoss
from tables import read_table, write_table
from torch import nn

from delineate.networks import create_network, list_networks
from delineate.networks.facts import count_macs
from delineate.networks.registry import network_class
from delineate.networks.sizes import next_size
from delineate.pipelines.core.memory import keep_freed_memory
from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.inference.inferer import PrecisionInferer, fastest_precision

SIDE, TRAINING_SIDE, BATCH, THREADS = 256, 128, 4, min(2, os.cpu_count() or 1)
SECONDS, FEWEST, WARM_UP = 3.0, 5, 2
COLUMNS = [
    "network",
    "parameters",
    "macs",
    "side",
    "float32_ms",
    "default_ms",
    "latency_ratio",
    "inference_calls",
    "inference_mb",
    "training_side",
    "float32_images_s",
    "default_images_s",
    "training_ratio",
    "training_calls",
    "training_mb",
    "precision",
    "device",
    "cpu",
    "threads",
    "torch",
    "monai",
    "commit",
    "error",
]
Row = dict[str, Any]


def build(name: str, side: int) -> nn.Module:
    """The network, for square images of ``side`` pixels; always with the same weights."""
    wanted = {"mirror": True, "img_size": side}  # logits that cover the image; a network for one size
    known = inspect.signature(network_class(name)).parameters
    torch.manual_seed(0)
    return create_network(name, **{argument: value for argument, value in wanted.items() if argument in known})


def cost(name: str, pixels: int) -> Row:
    """Without computing: the first side of at least ``pixels`` that the network takes, parameters, MACs."""
    with torch.device("meta"):
        network: Any = build(name, pixels).eval()
    side = next_size(pixels, network.smallest_size, network.divisor)
    parameters = sum(p.numel() for p in network.parameters())
    return {"parameters": parameters, "macs": count_macs(network, side), "side": side}


def infer(name: str, device: torch.device, default: bool) -> Row:
    torch.set_num_threads(THREADS)
    if default:
        keep_freed_memory()
    row = cost(name, SIDE)
    image, before = torch.rand(1, 3, row["side"], row["side"]).to(device), peak_mb(device)
    network: nn.Module = build(name, row["side"]).to(device).eval()
    inferer = PrecisionInferer()
    with torch.inference_mode():
        seconds = repeat((lambda: inferer(image, network)) if default else (lambda: network(image)), device)
    if not default:
        return {"float32_ms": round(1000 * statistics.median(seconds), 2)}
    return row | {
        "default_ms": round(1000 * statistics.median(seconds), 2),
        "inference_calls": len(seconds),
        "inference_mb": round(peak_mb(device) - before, 1),
    }


def train(name: str, device: torch.device, default: bool) -> Row:
    torch.set_num_threads(THREADS)
    if default:
        keep_freed_memory()
    side = cost(name, TRAINING_SIDE)["side"]
    images, labels = torch.rand(BATCH, 3, side, side).to(device), torch.rand(BATCH, 1, side, side).round().to(device)
    before, inferer = peak_mb(device), PrecisionInferer() if default else SimpleInferer()
    seconds = repeat(training_step(build(name, side).to(device), inferer, images, labels), device)
    speed = round(BATCH / statistics.median(seconds), 2)
    if not default:
        return {"float32_images_s": speed}
    memory = round(peak_mb(device) - before, 1)
    return {"training_side": side, "default_images_s": speed, "training_calls": len(seconds), "training_mb": memory}


def training_step(
    network: nn.Module, inferer: Inferer, images: torch.Tensor, labels: torch.Tensor
) -> Callable[[], None]:
    network.train()
    loss = DeepSupervisionLoss(nn.BCEWithLogitsLoss())  # of logits, or of a list of them
    optimizer = torch.optim.AdamW(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss(inferer(images, network), labels).backward()
        optimizer.step()

    return step


def repeat(call: Callable[[], object], device: torch.device) -> list[float]:
    """Seconds of each call, the first ones left out."""
    for _ in range(WARM_UP):
        call()
    seconds: list[float] = []
    while len(seconds) < FEWEST or sum(seconds) < SECONDS:
        seconds.append(timed(call, device))
    return seconds


def timed(call: Callable[[], object], device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def peak_mb(device: torch.device) -> float:
    """The most memory that was held so far, in 10^6 bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else ""):
        return int(found[1]) * 1024 / 1e6  # Linux lets ru_maxrss begin with what the parent process held
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def measure(name: str, device: torch.device) -> Row:
    """The network's row: figures, or why there are none."""
    row = {
        "network": name,
        "precision": str(fastest_precision(device)[0]).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "cpu": cpu_name(),
        "threads": THREADS,
        "torch": versions()["torch"],
        "monai": versions()["monai"],
        "commit": commit(),
    }
    errors = []
    for job, default in product((infer, train), (False, True)):
        try:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                row |= process.submit(job, name, device, default).result()
        except Exception as error:
            errors.append(" ".join(f"{job.__name__}: {type(error).__name__}: {error}".split()))
    if not errors:
        row["latency_ratio"] = round(row["float32_ms"] / row["default_ms"], 2)
        row["training_ratio"] = round(row["default_images_s"] / row["float32_images_s"], 2)
    return row | {"error": "; ".join(errors)}


def identity(row: Row) -> tuple[str, ...]:
    """What a row measures: another of the same takes its place."""
    return row["network"], row["device"], row["cpu"] if row["device"] == "cpu" else ""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--networks", nargs="+", choices=list_networks(), default=list_networks(), metavar="NAME")
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument("--append", action="store_true", help="keep rows of other networks and devices in --out")
    options = arguments.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        arguments.error("PyTorch sees no GPU here; leave out --device, or install a torch that is built for it")
    rows = {identity(row): row for row in read_table(options.out)} if options.append else {}
    for name in options.networks:
        row = measure(name, torch.device(options.device))
        rows[identity(row)] = row
        write_table(options.out, list(rows.values()), COLUMNS)
        print({column: row[column] for column in COLUMNS if column in row}, flush=True)


if __name__ == "__main__":
    main()
