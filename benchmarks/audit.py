"""How many planted duplicates of real images are found, and how many different images are taken for duplicates.

    python benchmarks/audit.py DATASET [DATASET ...] --out benchmarks/audit.csv [--count 500]

A DATASET is a folder with datalist.json. Of each, the first of every cluster of images that repeat each other are
taken, at most ``--count``, by hash order: what is a pair before anything is planted (``pairs_before``) is taken out.
Look at it on the page of ``delineate data audit``. Each change is then planted singly: a copy of every image is put
among the images, and counts as found when it pairs with its own original. A false pair joins different originals or
their copies.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.pipelines.data.duplicates import Signature, find_duplicates, signature
from delineate.pipelines.files import replacing
from delineate.pipelines.images import read_image
from delineate.pipelines.versions import commit

Pixels = NDArray[np.uint8]
COLUMNS = ["dataset", "change", "images", "pairs_before", "found", "recall", "false_pairs", "seconds", "commit"]


def jpeg(pixels: Pixels) -> Pixels:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def crop(pixels: Pixels) -> Pixels:
    """5 % of each side taken away, at a place that depends on the image."""
    height, width = pixels.shape[:2]
    rows, columns = round(0.05 * height), round(0.05 * width)
    top, left = np.random.default_rng(int(pixels.sum())).integers((rows + 1, columns + 1))
    return pixels[top : height - rows + top, left : width - columns + left]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "mirrored left to right": lambda pixels: pixels[:, ::-1],
    "mirrored top to bottom": lambda pixels: pixels[::-1],
    "turned by 90 degrees": lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    "cropped by 5 %": crop,
    "5 % cut off all round": lambda pixels: pixels[tuple(slice(n // 20, n - n // 20) for n in pixels.shape[:2])],
    "JPEG quality 60": jpeg,
    "brightness + 10 %": lambda pixels: np.clip(pixels * 1.1, 0, 255).astype(np.uint8),
    "brightness - 10 %": lambda pixels: (pixels * 0.9).astype(np.uint8),
}


def images_of(dataset: Path) -> list[Path]:
    datalist = json.loads((dataset / "datalist.json").read_text(encoding="utf-8"))
    entries = [entry for split in ("training", "validation", "test") for entry in datalist.get(split, [])]
    entries.sort(key=lambda entry: sha256(entry["image_sha256"].encode()).digest())
    return [dataset / entry["image"] for entry in entries]


def signatures_of(path: Path) -> list[Signature]:
    """Of the image itself, then of each change."""
    pixels = read_image(path, "rgb")
    return [signature(pixels), *(signature(np.ascontiguousarray(change(pixels))) for change in CHANGES.values())]


def measure(dataset: Path, count: int) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(2) as pool:
        every = list(pool.map(signatures_of, images_of(dataset)))
    before = find_duplicates([one[0] for one in every])
    repeated = {max(pair.first, pair.second) for pair in before}
    kept = [one for index, one in enumerate(every) if index not in repeated][:count]
    rows = []
    for number, change in enumerate(CHANGES, start=1):
        start = time.perf_counter()
        pairs = find_duplicates([one[0] for one in kept] + [one[number] for one in kept])
        seconds = time.perf_counter() - start
        origins = [{pair.first % len(kept), pair.second % len(kept)} for pair in pairs]
        found = sum(len(both) == 1 for both in origins)
        figures = (found, round(found / len(kept), 4), len(pairs) - found, round(seconds, 1), commit())
        rows.append(dict(zip(COLUMNS, (dataset.name, change, len(kept), len(before), *figures), strict=True)))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    rows = [row for dataset in arguments.datasets for row in measure(dataset, arguments.count)]
    with replacing(arguments.out) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
