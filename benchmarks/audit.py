"""How many planted duplicates of real images are found, and how many different images are taken for duplicates.

    python benchmarks/audit.py FOLDER [FOLDER ...] --out benchmarks/audit.csv [--count 60] [--ids even] [--features]

A FOLDER holds images, at any depth; masks (by the names of files and folders) are passed over. Of each twice
``--count`` images are taken, by the order of their hashes; of every cluster of images that repeat each other the first
stays (``pairs_before`` counts what is taken out; look at it with ``delineate data audit``), and of these ``--count``.
Each change is then planted singly: a copy of every image is put among the images, and counts as found when it pairs
with its own original. A false pair joins different originals or their copies. ``--ids odd`` or ``even`` takes the
images alone whose last number in the name is so: thresholds were chosen on odd ids of ISIC 2018 and on BUSI.
``--features`` adds the third search, by an encoder; ``--only REGEX`` takes the changes that it finds in their names.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from planted import CHANGES  # beside this script
from tables import read_table, write_table

from delineate.pipelines.core.versions import commit
from delineate.pipelines.duplicates import likeness
from delineate.pipelines.duplicates.encoded import imagenet_encoder, propose
from delineate.pipelines.duplicates.features import Features, features
from delineate.pipelines.duplicates.search import Propose, Signature, find_duplicates, signature
from delineate.pipelines.imaging.pictures import read_image

Pixels = NDArray[np.uint8]
COLUMNS = ["dataset", "change", "images", "pairs_before", "found", "recall", "false_pairs", "seconds", "commit"]
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".bmp"}


def images_of(folder: Path, ids: str) -> list[Path]:
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not re.search("mask|segmentation", str(path.relative_to(folder)).lower())
    ]
    if ids != "all":
        found = [path for path in found if int(re.findall(r"\d+", path.stem)[-1]) % 2 == (ids == "odd")]
    return sorted(found, key=lambda path: sha256(path.read_bytes()).digest())


def signatures_of(path: Path) -> list[Signature]:
    """Of the image itself, then of each change."""
    pixels = read_image(path, "rgb")
    return [signature(pixels), *(signature(np.ascontiguousarray(change(pixels))) for change in CHANGES.values())]


def remembered(described: Callable[[Pixels], Features]) -> Callable[[Pixels], Features]:
    """The originals are described once, not with every change."""

    @lru_cache(maxsize=500)
    def of_bytes(content: bytes, shape: tuple[int, ...]) -> Features:
        return described(np.frombuffer(content, np.uint8).reshape(shape))

    return lambda picture: of_bytes(picture.tobytes(), picture.shape)


def third_search() -> Propose:
    """The originals are encoded once, not with every change."""
    encode = imagenet_encoder()

    @lru_cache(maxsize=500)
    def of_bytes(content: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
        return encode(np.frombuffer(content, np.uint8).reshape(shape))

    return partial(propose, encode=lambda picture: of_bytes(picture.tobytes(), picture.shape))


def measure(folder: Path, ids: str, count: int, only: str, third: Propose | None) -> list[dict[str, Any]]:
    paths = images_of(folder, ids)[: 2 * count]
    with ThreadPoolExecutor(2) as pool:
        plain = list(pool.map(lambda path: signature(read_image(path, "rgb")), paths))
        before = find_duplicates(plain)
        repeated = {max(pair.first, pair.second) for pair in before}
        clean = [path for index, path in enumerate(paths) if index not in repeated][:count]
        kept = list(pool.map(signatures_of, clean))
    name = folder.name + ("" if ids == "all" else f" ({ids} ids)") + (", features" if third else "")
    rows = []
    for number, change in enumerate(CHANGES, start=1):
        if not re.search(only, change):
            continue
        start = time.perf_counter()
        pairs = find_duplicates([one[0] for one in kept] + [one[number] for one in kept], third)
        seconds = time.perf_counter() - start
        origins = {(min(both), max(both)) for both in ((p.first % len(kept), p.second % len(kept)) for p in pairs)}
        found = sum(first == second for first, second in origins)
        figures = (found, round(found / len(kept), 4), len(origins) - found, round(seconds, 1), commit())
        rows.append(dict(zip(COLUMNS, (name, change, len(kept), len(before), *figures), strict=True)))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="rows are added where it exists")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--ids", choices=["all", "odd", "even"], default="all")
    parser.add_argument("--features", action="store_true", help="with the third search, by an encoder")
    parser.add_argument("--only", default="", metavar="REGEX", help="the changes to measure")
    arguments = parser.parse_args()
    likeness.features = remembered(features)  # type: ignore[attr-defined]
    third = third_search() if arguments.features else None
    rows = [
        row
        for folder in arguments.folders
        for row in measure(folder, arguments.ids, arguments.count, arguments.only, third)
    ]
    new = {row["dataset"] for row in rows}
    before = [row for row in read_table(arguments.out) if row["dataset"] not in new]
    write_table(arguments.out, [*before, *rows], COLUMNS)


if __name__ == "__main__":
    main()
