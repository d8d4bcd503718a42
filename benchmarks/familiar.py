"""What share of the images of other sets a bundle flags as unfamiliar, what share of its own, and what the check costs.

    D=../shared/data
    python benchmarks/familiar.py runs/skin --data data/isic --out benchmarks/familiar.csv --append \
        --images "BUSI=$D/Dataset_BUSI_with_GT/*/*.png" "Kvasir-SEG=$D/Kvasir-SEG/images/*"

A row a set: how many images, how many of them flagged, quartiles of their distances (1 is the limit). Own sets are the
validation and test images of the data list; ``pages`` are pages of text that are drawn here. ``check_ratio`` is the
time of a call of the bundle's inferer with the check to that without it, of one image, in turns in one process.
"""

from __future__ import annotations

import argparse
import glob
import random
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from monai.data import MetaTensor
from PIL import Image, ImageDraw, ImageFont
from tables import read_table, write_table

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.memory import keep_freed_memory
from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.inference.segmenter import Segmenter
from delineate.pipelines.loading.datasets import load_datalist
from delineate.pipelines.training.familiarity import spread

MOST, PAGES, ROUNDS, WARM_UP = 150, 40, 40, 5
NO_IMAGES = re.compile(r"_mask|_annotation|_segmentation|superpixels", re.IGNORECASE)
WORDS = ("the", "patient", "was", "seen", "in", "clinic", "biopsy", "left", "forearm", "results", "pending", "daily")


def draw_pages(folder: Path, count: int) -> list[str]:
    """Pages of text, black on white, of several sizes of letters."""
    rng, found = random.Random(0), []
    for number in range(count):
        page, size = Image.new("RGB", (620, 877), "white"), rng.choice([12, 14, 18, 24])
        lines = range(40, 830, int(1.5 * size))
        text = [(y, " ".join(rng.choices(WORDS, k=rng.randint(2, 100 // size)))) for y in lines]
        for y, line in text:
            ImageDraw.Draw(page).text((50, y), line, "black", ImageFont.load_default(size))
        path = folder / f"page_{number:02}.png"
        page.save(path)
        found.append(str(path))
    return found


def distances(segmenter: Segmenter, files: Sequence[str]) -> list[float]:
    """Of the images that can be read."""
    refused: list[str] = []
    results = segmenter.segment(list(files), on_error=lambda error: refused.append(str(error)))
    found = [result.feature_distance for result in results]
    if refused:
        print(f"refused: {len(refused)}, e.g. {refused[0]}", flush=True)
    return [distance for distance in found if distance is not None]


def check_ratio(segmenter: Segmenter, rounds: int) -> float:
    """Time of the inferer with the check to that without; medians of calls in turns."""
    known = segmenter.network.familiarity
    seconds: dict[bool, list[float]] = {True: [], False: []}
    image = MetaTensor(torch.rand(1, segmenter.in_channels, *segmenter.window)).to(segmenter.device)
    with torch.no_grad():
        for _ in range(WARM_UP + rounds):
            for with_check in (True, False):
                segmenter.network.familiarity = known if with_check else ()
                begin = time.perf_counter()
                segmenter.inferer(image, segmenter.network)
                if segmenter.device.type == "cuda":
                    torch.cuda.synchronize()
                seconds[with_check].append(time.perf_counter() - begin)
    segmenter.network.familiarity = known
    return statistics.median(seconds[True][WARM_UP:]) / statistics.median(seconds[False][WARM_UP:])


def own_sets(data: Path, segmenter: Segmenter) -> Iterator[tuple[str, list[str]]]:
    """Validation and test images of a data list."""
    structures = [one.as_dict() for one in segmenter.structures] or None
    for split in ("validation", "test"):
        items = load_datalist(data, split, slicing=segmenter.slicing, structures=structures)
        yield f"own {split}", [str(item["image"]) for item in items]


def main() -> None:
    """Measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, help="the bundle's own data set")
    parser.add_argument("--images", nargs="*", default=[], metavar="NAME=PATTERN")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--append", action="store_true")
    parser.add_argument("--name", help="of the bundle in the table")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--most", type=int, default=MOST, help="images of each other set")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    segmenter = Segmenter(asked.bundle, device=asked.device)
    if not getattr(segmenter.network, "familiarity", ()):
        raise SystemExit(f"{asked.bundle} has no check: delineate bundle familiarity {asked.bundle} --data DATASET")
    ratio = check_ratio(segmenter, asked.rounds)
    sets = dict(own_sets(asked.data, segmenter)) if asked.data else {}
    for name, _, pattern in (each.partition("=") for each in asked.images):
        files = [file for file in sorted(glob.glob(pattern, recursive=True)) if not NO_IMAGES.search(Path(file).name)]
        sets[name] = [files[place] for place in spread(files, asked.most)]
    on_gpu = segmenter.device.type == "cuda"
    facts = {
        "check_ratio": round(ratio, 3),
        "device": segmenter.device.type,
        "machine": torch.cuda.get_device_name(segmenter.device) if on_gpu else cpu_name(),
        "threads": asked.threads,
        "torch": versions()["torch"],
        "commit": commit(),
        "bundle_hash": segmenter.admission.hash,
    }
    rows = []
    with TemporaryDirectory() as folder:
        for name, files in {**sets, "pages": draw_pages(Path(folder), PAGES)}.items():
            try:
                found = np.array(distances(segmenter, files))
            except DelineateError as error:
                raise SystemExit(f"{name}: {error}") from error
            if not len(found):
                print(f"{name}: no image", flush=True)
                continue
            flagged = int((found > 1).sum())
            quartiles = zip(("q1", "median", "q3"), np.quantile(found, [0.25, 0.5, 0.75]).tolist(), strict=True)
            shown = {quartile: round(value, 2) for quartile, value in quartiles}
            row = {"bundle": asked.name or segmenter.bundle.resolve().name, "set": name, "images": len(found)}
            rows.append(row | {"flagged": flagged, "share": round(flagged / len(found), 4)} | shown | facts)
            print(*list(rows[-1].values())[:8], flush=True)
    write_table(asked.out, [*(read_table(asked.out) if asked.append else []), *rows])


if __name__ == "__main__":
    main()
