"""Bundles that know noise, and flag what is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from delineate.pipelines.bundling.familiarity import Familiarity, write_familiarity
from delineate.pipelines.inference.features import features_of
from delineate.pipelines.inference.segmenter import Segmenter

RNG = np.random.default_rng(0)


def noise() -> np.ndarray:
    """A grey image that is familiar to such a bundle."""
    return RNG.integers(0, 256, (40, 40), dtype=np.uint8)


def page() -> np.ndarray:
    """One that is not."""
    return np.full((40, 40), 255, np.uint8)


def write(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def teach(bundle: Path) -> Path:
    """Let a bundle with weights know noise; what is drawn then and later is the same, whatever was drawn before."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state
    segmenter = Segmenter(bundle)

    def images() -> Iterator[Any]:
        for _ in range(60):  # of few, one noise in a hundred is beyond the limit
            yield segmenter.preprocessing({"image": str(write(bundle.parent / "noise.png", noise()))})["image"]

    features = features_of(segmenter.network, segmenter.inferer, images(), segmenter.device)
    write_familiarity(bundle / "models", [Familiarity.of(features[:15], features[15:])])
    return bundle
