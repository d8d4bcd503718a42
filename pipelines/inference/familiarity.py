"""How far an image is from those that the network was trained with, seen while its mask is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import nn

from ...networks.features import pooling_features
from ..bundling.familiarity import Floats
from ..core.errors import printable
from .backends.runner import Runner

DISTANCE = "feature_distance"
"""Of an image's metadata: see `Familiarity.distances`; of an ensemble the mean over its members."""
_NAMED = 3


@contextmanager
def noting_distance(network: Any, image: torch.Tensor) -> Iterator[None]:
    """While the block calls the network with an image, note in its metadata how far its features are from training's.

    Args:
        network: its ``familiarity``, where it has any, is what `load_weights` found beside its weights.
        image: (1, C, H, W); of several at once, or without metadata, nothing is noted.
    """
    known = getattr(network, "familiarity", ())
    if not known or not isinstance(image, MetaTensor) or len(image) != 1:
        yield
        return
    with network.pooling_features() if isinstance(network, Runner) else pooling_features(network) as pooled:
        yield
        features = [each.double().cpu().numpy()[None] for each in pooled()]
    if not features:  # a graph of before, or of another tool
        return
    distances = [float(one.distances(found)[0]) for one, found in zip(known, features, strict=True)]
    image.meta[DISTANCE] = [float(np.mean(distances))]


def noted_distance(image: Any) -> float | None:
    """What `noting_distance` has noted in an image's metadata; ``None`` where that is nothing, or not finite."""
    value = getattr(image, "meta", {}).get(DISTANCE)
    distance = float(value[0] if isinstance(value, list | tuple) else value) if value is not None else math.nan
    return distance if math.isfinite(distance) else None


class _Recorder:
    """Takes features in place of `Familiarity`."""

    def __init__(self) -> None:
        self.features: list[Floats] = []

    def distances(self, features: Floats) -> Floats:
        self.features.append(features[0])
        return np.zeros(len(features))


def features_of(
    network: nn.Module, inferer: Callable[..., Any], images: Iterable[MetaTensor], device: torch.device
) -> Floats:
    """The features (N, D) that a network computes of images (C, H, W), one by one, as it does to make their masks."""
    recorder = _Recorder()
    before: Any = getattr(network, "familiarity", ())
    network.familiarity = (recorder,)  # type: ignore[assignment]
    try:
        with torch.no_grad():
            for image in images:
                inferer(image[None].to(device), network)
    finally:
        network.familiarity = before
    return np.array(recorder.features)


def unfamiliar_warning(names: Sequence[str], total: int, table: str) -> str:
    """One line about images that are unlike those of the training.

    Args:
        names: of these images.
        total: how many images there are.
        table: the file in which all are marked.
    """
    shown = ", ".join(map(printable, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
    return (
        f"unlike the images that the network was trained with: {len(names)} of {total} ({shown}); do not rely on their "
        f"masks, which the column familiar of {table} names"
    )
