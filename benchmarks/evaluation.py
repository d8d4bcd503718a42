"""Seconds and memory of an evaluation: three metrics, as it was, and all that reports hold now.

    python benchmarks/evaluation.py --out benchmarks/evaluation.csv [--old f102225]

Both score the same made images of 512x512 with the same light network on a grid of 256x256, a process each, one thread:

* ``old``: the commit named, with Dice, IoU, pixel accuracy and their intervals;
* ``new``: this checkout, with all metrics, intervals, subgroups, histograms, and every file that it writes.

They take turns, old and new side by side at each number of images; the ratio is of one turn. ``cpu_s`` is the process's
own time, which other processes on the machine hardly change, without what it needs to start; ``peak_mb`` is its largest
memory. Memory that grows with the number of images would show between the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from tables import write_table

from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.phantoms.images import phantom, write_phantoms
from delineate.pipelines.training.workflow import train

ROOT = Path(__file__).resolve().parents[1]
SIDE = 512
TURNS = {200: 2, 1000: 1}
NETWORK = "ultra_light_unet"

SCORE = """
import json, re, shutil, sys, time
from pathlib import Path
bundle, weights, data, out, network = sys.argv[1:]
from delineate.pipelines.bundling.bundles import new_bundle
from delineate.pipelines.evaluation.workflow import evaluate
made = new_bundle(Path(bundle), "skin_lesion", network=network)
shutil.copytree(weights, made / "models", dirs_exist_ok=True)
import delineate, torch, monai.bundle, monai.engines, matplotlib.figure
torch.set_num_threads(1)
wall, cpu = time.perf_counter(), time.process_time()
scores = evaluate(made, data, out, settings={"image_size": [256, 256], "window": [256, 256]}, trust=True)
print(json.dumps({
    "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu,
    "peak_mb": int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024,
    "package": delineate.__file__, "dice": scores["mean_dice"]["value"], "images": scores["count"],
}))
"""


def write_images(folder: Path, count: int) -> None:
    """A data set whose test images are phantoms of 512x512, two a patient; after the first 200 the same ones turned."""
    drawn = [phantom(5_000_000 + number, (SIDE, SIDE)) for number in range(min(TURNS))]
    items = []
    for number in range(count):
        turns, which = divmod(number, len(drawn))
        image, mask = (np.roll(np.rot90(pixels, turns), 7 * turns, 0) for pixels in drawn[which])
        files = folder / f"{number:04d}.jpg", folder / f"{number:04d}_mask.png"
        for path, pixels in zip(files, (image, mask * 255), strict=True):
            Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        items.append(Item.of(files[0], files[1], group=f"patient {number // 2}", class_name="ab"[number % 2]))
    for size in TURNS:
        Datalist(folder=folder / f"first_{size}", lists={"test": items[:size]}).write()


def small_run(folder: Path) -> Path:
    """The weights of a short training, so that masks look like masks; where they lie."""
    write_phantoms(folder / "small", 40)
    index_dataset(folder / "small", out=folder / "dataset", near_duplicates=False)
    small = {"image_size": [64, 64], "window": [64, 64], "batch_size": 4, "precision": "float32"}
    settings = {**small, "max_epochs": 10, "val_interval": 10, "learning_rate": 0.01}
    return train("skin_lesion", folder / "dataset", folder / "run", network=NETWORK, settings=settings) / "models"


def checkout(revision: str, folder: Path) -> Path:
    """An earlier state of the package, to be imported from the folder."""
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", revision], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder / "delineate", filter="data")
    return folder


def score(package: Path | None, weights: Path, data: Path, folder: Path) -> dict[str, Any]:
    """What one evaluation needs, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    environment |= {"PYTHONPATH": str(package)} if package else {}
    place = folder / "turn"
    shutil.rmtree(place, ignore_errors=True)
    words = [sys.executable, "-c", SCORE, *map(str, (place / "bundle", weights, data, place / "out", NETWORK))]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--old", default="f102225")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, max(TURNS))
        weights, old = small_run(folder), checkout(options.old, folder / "old")
        for images, turns in TURNS.items():
            pairs = []
            for turn in range(turns):
                found = {}
                for state in (("old", old), ("new", None))[:: 1 if turn % 2 == 0 else -1]:
                    found[state[0]] = score(state[1], weights, folder / f"first_{images}", folder)
                print(images, found, flush=True)
                pairs.append(found)
            rows += [summary(images, state, pairs, options.old) for state in ("old", "new")]
    write_table(options.out, rows)


def summary(images: int, state: str, pairs: list[dict[str, dict[str, Any]]], old: str) -> dict[str, Any]:
    """A row: medians over the turns."""
    median = {key: statistics.median(pair[state][key] for pair in pairs) for key in ("cpu_s", "wall_s", "peak_mb")}
    ratio = statistics.median(pair[state]["cpu_s"] / pair["old"]["cpu_s"] for pair in pairs)
    return {
        "evaluation": state,
        "images": images,
        "turns": len(pairs),
        "cpu_s": round(median["cpu_s"], 2),
        "wall_s": round(median["wall_s"], 2),
        "ms_an_image": round(1000 * median["cpu_s"] / images, 1),
        "ratio_to_old": round(ratio, 2),
        "peak_mb": round(median["peak_mb"]),
        "mean_dice": round(pairs[0][state]["dice"], 4),
        "network": NETWORK,
        "cpu": cpu_name(),
        "threads": 1,
        "torch": versions()["torch"],
        "monai": versions()["monai"],
        "commit": old if state == "old" else commit(),
    }


if __name__ == "__main__":
    main()
