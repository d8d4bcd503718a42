"""Pictures of two structures, a bright heart and a dark lung, and the data list of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

STRUCTURES = [{"name": "heart"}, {"name": "left lung"}]
SPLITS = {"training": 8, "validation": 3, "test": 3}


def make_structures(
    folder: Path, exclusive: bool = False, missing: Iterable[tuple[int, str]] = (), absent: Iterable[int] = ()
) -> Path:
    """A data set of 14 grey pictures, 40 x 48, of which each structure has a mask file.

    Args:
        folder: to make.
        exclusive: the lung ends where the heart begins; else they overlap.
        missing: (picture, structure): nobody annotated it.
        absent: pictures without a lung: an empty mask.
    """
    folder.mkdir(parents=True)
    gone, empty, rng = set(missing), set(absent), np.random.default_rng(0)
    items = []
    for number in range(sum(SPLITS.values())):
        top, left = rng.integers(4, 12, 2)
        masks = np.zeros((2, 40, 48), bool)
        masks[0, top : top + 18, left : left + 14] = True
        masks[1, top + 6 : top + 22, left + 9 : left + 27] = number not in empty
        if exclusive:
            masks[1] &= ~masks[0]
        grey = 90 + 100 * masks[0] - 60 * masks[1] + rng.normal(0, 4, (40, 48))
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        for mask, one in zip(masks, STRUCTURES, strict=True):
            Image.fromarray((mask * 255).astype(np.uint8)).save(folder / f"{number}_{one['name'][0]}.png")
        drawn = {one["name"]: {"files": [at]} for at, one in enumerate(STRUCTURES)}
        labels = [f"{number}_{one['name'][0]}.png" for one in STRUCTURES]
        items.append(
            {
                "image": f"{number}.png",
                "image_sha256": _sha256(folder / f"{number}.png"),
                "label": labels,
                "label_sha256": [_sha256(folder / label) for label in labels],
                "group": str(number),
                "structures": {name: None if (number, name) in gone else found for name, found in drawn.items()},
            }
        )
    content: dict[str, Any] = {"format": 1, "name": "made", "layout": "made", "structures": STRUCTURES}
    for split, count in SPLITS.items():
        content[split], items = items[:count], items[count:]
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
