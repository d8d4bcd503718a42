from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

SIZE = (120, 160)
Make = Callable[..., Path]


def picture(seed: int, channels: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(3, *SIZE, channels))
    clouds = sum(sigma * gaussian_filter(one, (sigma, sigma, 0)) for sigma, one in zip((1, 4, 16), noise, strict=True))
    return np.squeeze(np.clip(120 + 50 * clouds, 0, 255).astype(np.uint8))


def disc(row: int = 60, column: int = 70, radius: int = 25) -> np.ndarray:
    rows, columns = np.indices(SIZE)
    return np.where(np.hypot(rows - row, columns - column) < radius, 255, 0).astype(np.uint8)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a data set of ``name=(part, image, mask, fields)`` and returns its folder."""

    def write(folder: str = "data", **items: tuple[str, np.ndarray, np.ndarray, dict[str, Any]]) -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        datalist: dict[str, Any] = {"name": folder, "training": [], "validation": [], "test": []}
        for name, (part, image, mask, fields) in items.items():
            entry: dict[str, Any] = {"group": name, **fields}
            for key, pixels in (("image", image), ("label", mask)):
                path = root / f"{name}_{key}.png"
                Image.fromarray(pixels).save(path)
                entry |= {key: path.name, f"{key}_sha256": sha256(path.read_bytes()).hexdigest()}
            datalist[part].append(entry)
        (root / "datalist.json").write_text(json.dumps(datalist))
        return root

    return write
