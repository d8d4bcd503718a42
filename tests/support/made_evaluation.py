"""Evaluations of phantoms without a network: the reference, shifted, is the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from delineate.pipelines.evaluation.rows import score_masks
from delineate.pipelines.evaluation.scored import MOST, Evaluation, Row, Worst, suffixes_of
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.imaging.structures import Structure
from delineate.pipelines.phantoms.images import phantom

CHEST = (Structure("heart"), Structure("left lung"))


def made_evaluation(
    folder: Path,
    images: int,
    structures: Sequence[Structure] = (),
    spacing: tuple[float, float] | None = None,
    scores: Sequence[str] = ("mean", "hd95", "nsd", "prec"),
    **facts: Any,
) -> Evaluation:
    """Images of 64x48 in ``folder``: the first is missed, the second a false alarm, the third rightly empty.

    Those scores are in it whose names begin so; a page has a chart of each, and to draw it takes a moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, worst, planes = [], [], max(len(structures), 1)
    for index in range(images):
        image, mask = phantom(index + 1, (64, 48))
        path = folder / f"phantom_{index:04d}.png"
        Image.fromarray(image).save(path)
        reference = np.stack([np.roll(mask, 3 * plane, 1) for plane in range(planes)])
        prediction = np.roll(reference, index % 7, 1)
        prediction *= index not in (0, 2)
        reference *= index not in (1, 2)
        row: Row = {"image": str(path), "group": f"patient {index // 2}", "class": ["benign", "malignant"][index % 2]}
        rows.append(row | score_masks(prediction, reference, suffixes_of(structures), spacing))
        worst.append(Worst.of(index, Item(image=(path,)), prediction, reference, structures=structures))
    histogram = np.random.default_rng(0).integers(1, 99, (planes, 2, 256))
    return Evaluation(
        rows=rows,
        metrics=[name for name in rows[0] if name.startswith(tuple(scores)) and name.count("_") < 3],
        structures=tuple(structures),
        histograms=histogram,
        facts={"split": "test", "versions": {"delineate": "0.0"}, "data_hash": "feedbeef", **facts},
        worst=sorted(worst, key=lambda one: rows[one.row]["mean_dice"])[:MOST],
    )
