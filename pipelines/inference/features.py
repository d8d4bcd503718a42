"""What a network sees in an image, noted while its mask is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import nn

from ...networks.features import pooling_features
from ..bundling.familiarity import Floats
from .backends.runner import Runner
from .familiarity import DISTANCE, mean_distance


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
        features = [each.double().cpu().numpy() for each in pooled()]
    if features:  # a graph of before, or of another tool, has none
        image.meta[DISTANCE] = [mean_distance(known, features)]


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
