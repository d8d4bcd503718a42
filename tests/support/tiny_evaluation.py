"""An evaluation without a network: images that are their own prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import DiceMetric
from monai.transforms import CopyItemsd

from delineate.pipelines.evaluation import PerStructure, PixelAccuracy

Item = dict[str, Any]


def item(name: str, pred: Sequence[Sequence[int]], label: Sequence[Sequence[int]], **fields: str) -> Item:
    """An image that the identity network segments as ``pred``."""
    image = MetaTensor(torch.tensor([pred], dtype=torch.float32), meta={"filename_or_obj": name})
    return {"image": image, "label": torch.tensor([label], dtype=torch.uint8), **fields}


def several(name: str, pred: Any, label: Any, **fields: str) -> Item:
    """An image of several structures: ``pred`` and ``label`` are (S, H, W), a plane of 255 is not annotated."""
    image = MetaTensor(torch.as_tensor(pred, dtype=torch.float32), meta={"filename_or_obj": name})
    return {"image": image, "label": torch.as_tensor(label, dtype=torch.uint8), **fields}


HALF = item("half.png", [[1, 0, 0]], [[1, 1, 1]], group="p1")
PERFECT = item("perfect.png", [[1, 0], [0, 0]], [[1, 0], [0, 0]], group="p1")
NORMAL = item("normal.png", [[0, 0]], [[0, 0]], group="p2")
GHOST = item("ghost.png", [[0, 1]], [[0, 0]], group="p3")
ALL = [HALF, PERFECT, NORMAL, GHOST]


def evaluator(data: Any, *handlers: Any, metrics: Mapping[str, Any] | None = None) -> SupervisedEvaluator:
    """Scores with Dice and pixel accuracy, and ``metrics`` beside."""

    def metric(kind: Any) -> IgniteMetricHandler:
        return IgniteMetricHandler(kind, output_transform=from_engine(["pred", "label"]))

    return SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader(data, batch_size=1),
        torch.nn.Identity(),
        postprocessing=CopyItemsd("pred", names="probability"),
        key_val_metric={"mean_dice": metric(PerStructure(DiceMetric(ignore_empty=False)))},
        additional_metrics={
            name: metric(kind)
            for name, kind in {"pixel_accuracy": PerStructure(PixelAccuracy()), **(metrics or {})}.items()
        },
        val_handlers=list(handlers),
    )
