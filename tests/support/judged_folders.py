"""Evaluations as files, made of numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_judged(
    folder: Path,
    scores: Mapping[str, Sequence[float | None]],
    *,
    groups: Sequence[str] | None = None,
    images: Sequence[str] | None = None,
    structures: Sequence[str] = (),
    more: Mapping[str, Sequence[Any]] | None = None,
    **facts: Any,
) -> Path:
    """A folder with ``metrics.json`` and ``per_image.csv`` of columns; the scores are those without a structure."""
    count = len(next(iter(scores.values())))
    names = images or [f"/data/{index:03}.png" for index in range(count)]
    columns = {"image": names, "group": groups or names, "reference_pixels": [7] * count, **(more or {}), **scores}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "per_image.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    parts = [f"_{name.replace(' ', '_')}" for name in structures]
    whole = [name for name in scores if not any(name.endswith(part) for part in parts)]
    metrics: dict[str, Any] = {"split": "test", "count": count, "refused": [], "data_hash": "1234"}
    metrics |= {name: {"value": 0.5, "ci95": None} for name in whole}
    metrics |= {"structures": {name: {} for name in structures}} if structures else {}
    (folder / "metrics.json").write_text(json.dumps(metrics | facts))
    return folder


def dice(seed: int, count: int = 30, shift: float = 0.0) -> list[float]:
    """Scores around 0.8."""
    noise = np.random.default_rng(seed).normal(0, 0.05, count)
    return [float(value) for value in np.clip(0.8 + shift + noise, 0, 1)]
