"""One image of 256x256 by each backend, against the plain float32 loop that published code has.

    python benchmarks/backends.py --out benchmarks/backends.csv
    python benchmarks/backends.py --out benchmarks/backends.csv --append --threads 1

Of each network, untrained, 3 channels in and 1 out: ``published`` is the network itself in float32, as published code
calls it; ``torch`` is what ``--backend torch`` does (float32, and bfloat16 where the CPU has it); the others are the
backends, float32 unless their name says else. int8 is calibrated on noise: its speed counts here, not its masks. All
take turns in one process, a block of calls each, the first of which is not counted: a runtime's threads may still wait
busily when the next one begins. Each ratio is ``published`` divided by the way's median, of one run. Run it on a quiet
machine; the last columns say which. What is not installed is left out.

``peak_mb`` is the most memory of a process that computes three images in this way and no other, libraries included; it
is forked from one that has imported torch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from tables import read_table, write_table

from delineate.networks import create_network
from delineate.networks.graphs import graph_axes
from delineate.pipelines.core.cores import usable_cores
from delineate.pipelines.core.memory import keep_freed_memory
from delineate.pipelines.core.versions import commit, cpu_name
from delineate.pipelines.export.quantized import quantize_onnx, quantize_openvino
from delineate.pipelines.inference.backends import onnxruntime, openvino
from delineate.pipelines.inference.backends.graphs import write_onnx
from delineate.pipelines.inference.backends.runner import Runner
from delineate.pipelines.inference.inferer import PrecisionInferer, fastest_precision

SIDE, BLOCKS, CALLS, CALIBRATED = 256, 5, 6, 8
NETWORKS = ("unet", "se_depthwise_unet", "ultra_light_unet", "efficient_lite_unet")
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
Call = Callable[[torch.Tensor], object]


class Way(NamedTuple):
    """How a network is computed: by its graph, else by torch, else as it is."""

    name: str
    graph: Path | None = None

    @property
    def precision(self) -> str:
        return self.name.partition(" ")[2] or "float32"

    def call(self, network: str, threads: int) -> Call:
        """What computes an image."""
        if self.graph is not None:
            module = {"onnxruntime": onnxruntime, "openvino": openvino}[self.name.partition(" ")[0]]
            return Runner(*module.open_graph(self.graph, self.precision, threads))
        made = build(network)
        return made if self.name == "published" else partial(PrecisionInferer(precision=self.precision), network=made)


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_network(name, in_channels=3, out_channels=1).eval()


def ways(network: str, side: int, folder: Path, int8: bool) -> Iterator[Way]:
    """Each way to compute a network."""
    yield Way("published")
    fastest = str(fastest_precision(torch.device("cpu"))[0]).removeprefix("torch.")
    for precision in dict.fromkeys(["float32", fastest]):
        yield Way(f"torch {precision}")
    graph, built = folder / "model.onnx", build(network)
    write_onnx(built, 3, graph_axes(built, (side, side)), graph)
    noise = [torch.rand(1, 3, side, side).numpy() for _ in range(CALIBRATED)]
    for name in ("onnxruntime", "openvino"):
        if find_spec(name) is None:
            continue
        yield Way(name, graph)
        if name == "openvino" and fastest == "bfloat16":
            yield Way("openvino bfloat16", graph)
        if not int8 or (name == "openvino" and find_spec("nncf") is None):
            continue
        quantized = folder / ("model.int8.onnx" if name == "onnxruntime" else "model.int8.xml")
        (quantize_onnx if name == "onnxruntime" else quantize_openvino)(graph, noise, quantized)
        yield Way(f"{name} int8", quantized)


def measure(name: str, side: int, blocks: int, threads: int, int8: bool) -> Iterator[dict[str, object]]:
    """The rows of one network."""
    with TemporaryDirectory() as folder, torch.no_grad():
        known = list(ways(name, side, Path(folder), int8))
        calls = {way: way.call(name, threads) for way in known}
        image = torch.rand(1, 3, side, side)
        seconds: dict[Way, list[float]] = {way: [] for way in known}
        for _ in range(blocks):
            for way, call in calls.items():
                seconds[way] += [timed(call, image) for _ in range(CALLS)][1:]
        peaks = {way: peak_mb(way, name, side, threads) for way in known}
    plain = statistics.median(seconds[known[0]])
    for way, found in seconds.items():
        median = statistics.median(found)
        yield {
            **{"network": name, "side": side, "way": way.name, "ms": round(1000 * median, 2)},
            **{"ratio": round(plain / median, 2), "peak_mb": f"{peaks[way]:.0f}"},
        }


def peak_mb(way: Way, network: str, side: int, threads: int) -> float:
    """The most memory of a process that does nothing else; NaN where the system does not tell."""
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        return pool.apply(_peak_mb, (way, network, side, threads))


@torch.no_grad()
def _peak_mb(way: Way, network: str, side: int, threads: int) -> float:
    torch.set_num_threads(threads)
    keep_freed_memory()
    call, image = way.call(network, threads), torch.rand(1, 3, side, side)
    for _ in range(3):
        call(image)
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else "")
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def timed(call: Call, image: torch.Tensor) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    call(image)
    return time.perf_counter() - begin


def flags(hidden: Sequence[str] = ()) -> str:
    """The CPU's units that matter here, as Linux calls them, but for those that begin with what is hidden."""
    try:
        (line, *_) = [one for one in Path("/proc/cpuinfo").read_text().splitlines() if one.startswith("flags")]
    except (OSError, ValueError):
        return "unknown"
    return " ".join(flag for flag in FLAGS if flag in line.split() and not flag.startswith(tuple(hidden)))


def packages() -> str:
    """Versions of the runtimes."""
    from importlib.metadata import version

    return ", ".join(
        f"{name} {version(name)}" for name in ("torch", "onnxruntime", "openvino", "nncf") if find_spec(name)
    )


def main() -> None:
    """Measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--append", action="store_true")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--no-int8", action="store_true")
    parser.add_argument("--hidden", nargs="*", default=[], help="units hidden from the libraries, e.g. avx512")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    cpu = f"{cpu_name().partition(' (')[0]} without {' and '.join(asked.hidden)}" if asked.hidden else cpu_name()
    facts = {"threads": asked.threads, "cpu": cpu, "flags": flags(asked.hidden), "versions": packages()}
    facts |= {"commit": commit()}
    rows: list[dict[str, object]] = [*map(dict, read_table(asked.out) if asked.append else [])]
    for name in asked.networks:
        for row in measure(name, asked.side, asked.blocks, asked.threads, not asked.no_int8):
            print(row, flush=True)
            rows.append(row | facts)
        write_table(asked.out, rows)


if __name__ == "__main__":
    main()
