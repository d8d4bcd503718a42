"""Data sets of tiny pictures with masks, and what indexing makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.datasets.splitting.splits import SPLITS

MASK = np.pad(np.full((3, 4), 255, np.uint8), 2)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*MASK.shape, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def make_paired(root: Path, names: Sequence[str] = "abcdefghij") -> Path:
    for seed, name in enumerate(names):
        save(root / f"images/{name}.png", picture(seed))
        save(root / f"masks/{name}.png", MASK)
    return root


def load(out: Path) -> dict[str, Any]:
    datalist: dict[str, Any] = json.loads((out / "datalist.json").read_text())
    return datalist


def entries(datalist: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for split in SPLITS for entry in datalist[split]]


def split_of(datalist: dict[str, Any]) -> dict[str, str]:
    return {Path(entry["image"]).stem: split for split in SPLITS for entry in datalist[split]}


def index_with(source: Path, out: Path) -> dict[str, str]:
    """Index and return the reasons of what was refused, by file name."""
    return {Path(error.source).name: error.reason for error in index_dataset(source, out=out).refused}
