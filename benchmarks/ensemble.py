"""What an ensemble and test-time augmentation cost on this machine: time of an image, against one network.

    python benchmarks/ensemble.py --out benchmarks/ensemble.csv
    python benchmarks/ensemble.py --out benchmarks/ensemble.csv --append --device cuda

Of each network, untrained, 3 channels in and 1 out, one image of 256x256 in default precision (``PrecisionInferer``):
``network_ms`` alone, then an ensemble of five, and the two kinds of views. All take turns in one process, round after
round, so that what else the machine does meanwhile is the same for all; each ratio is that of the medians. Where
others want the same cores, take one thread (``--threads 1``): several wait for each other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tables import read_table, write_table

from delineate.networks import Ensemble, create_network
from delineate.pipelines.core.memory import keep_freed_memory
from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.inference.inferer import PrecisionInferer, fastest_precision
from delineate.pipelines.inference.views import TTA

SIDE, MEMBERS, THREADS = 256, 5, min(2, os.cpu_count() or 1)
ROUNDS, WARM_UP = 15, 2
NETWORKS = ("ultra_light_unet", "cmunext", "unet")


def measure(name: str, device: torch.device, rounds: int, side: int) -> dict[str, object]:
    """One row."""
    torch.manual_seed(0)
    members = [create_network(name).to(device).eval() for _ in range(MEMBERS)]
    image = torch.rand(1, 3, side, side, device=device)
    ways = {"network": (PrecisionInferer(), members[0]), "ensemble": (PrecisionInferer(), Ensemble(members).eval())}
    ways |= {tta: (PrecisionInferer(tta=tta), members[0]) for tta in TTA}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with torch.no_grad():
        for _ in range(WARM_UP + rounds):
            for way, (inferer, network) in ways.items():
                seconds[way].append(timed(lambda: inferer(image, network), device))  # noqa: B023 - called here
    median = {way: statistics.median(found[WARM_UP:]) for way, found in seconds.items()}
    ratios = {f"{way}_ratio": round(median[way] / median["network"], 2) for way in ways if way != "network"}
    return {"network": name, "side": side, "network_ms": round(1000 * median["network"], 2), **ratios}


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def main() -> None:
    """Measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--append", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--threads", type=int, default=THREADS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    device = torch.device(asked.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    facts = {
        "members": MEMBERS,
        "rounds": asked.rounds,
        "precision": str(fastest_precision(device)[0]).removeprefix("torch."),
        "device": device.type,
        "machine": machine,
        "threads": asked.threads,
        "torch": versions()["torch"],
        "commit": commit(),
    }
    rows = [measure(name, device, asked.rounds, asked.side) | facts for name in asked.networks]
    write_table(asked.out, [*(read_table(asked.out) if asked.append else []), *rows])


if __name__ == "__main__":
    main()
