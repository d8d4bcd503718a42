"""Candidates for the second search: pictures that look alike to an encoder that was trained on ImageNet.

Its features are whitened, because those of photographs of one kind all point the same way: what most pictures share,
as skin or a scanner's frame, then counts no more than what few have: Jégou H, Chum O. Negative Evidences and
Co-occurences in Image Retrieval: The Benefit of PCA and Whitening. ECCV 2012,
https://doi.org/10.1007/978-3-642-33709-3_55.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import median_filter

from ...networks.efficientnet_lite import EfficientNetLite
from ...networks.pretrained import load_imagenet
from .search import Signature

Array = NDArray[Any]

_CANDIDATES = 8  # of a picture
_SIDE, _HAIR = 96, 5  # of what the encoder sees; width that is wiped out, in pixels of a signature's picture
_LEVELS = slice(3, None)  # of the encoder: strides of 16 and 32
_RIDGE = 0.1  # of the whitening, in mean variances
_ROWS = 512  # of a block, to keep memory flat


def imagenet_encoder() -> Callable[[NDArray[np.uint8]], Array]:
    """What takes a picture (H, W), grey, 0-255, and gives features (D,): means over space of EfficientNet-Lite 0.

    Raises:
        DelineateError: the ImageNet weights are not installed.
    """
    encoder = EfficientNetLite("lite0")
    load_imagenet(encoder)
    encoder.eval()

    @torch.inference_mode()
    def encode(picture: NDArray[np.uint8]) -> Array:
        seen = Image.fromarray(median_filter(picture, _HAIR)).resize((_SIDE, _SIDE), Image.Resampling.BOX)
        grey = (torch.tensor(np.asarray(seen), dtype=torch.float32) - 127) / 128
        levels = encoder(grey.expand(1, 3, -1, -1))[_LEVELS]  # one at a time: the same in every company
        return torch.cat([level.mean((0, 2, 3)) for level in levels]).numpy()

    return encode


def propose(signatures: Sequence[Signature], encode: Callable[[NDArray[np.uint8]], Array]) -> set[tuple[int, int]]:
    """For each picture those whose features are nearest to its own; sorted pairs of indices.

    Args:
        signatures: of the images.
        encode: of a picture (H, W), grey, 0-255, to features (D,).
    """
    if len(signatures) < 2:
        return set()
    features = _whitened(np.stack([encode(one.picture) for one in signatures]))
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(features), _ROWS):
        for row, cosines in enumerate(features[start : start + _ROWS] @ features.T, start):
            cosines[row] = -np.inf
            best = np.argsort(-cosines, kind="stable")[: min(_CANDIDATES, len(features) - 1)]
            pairs.update((min(row, int(one)), max(row, int(one))) for one in best)
    return pairs


def _whitened(features: Array) -> Array:
    """(N, D) of length 1, the set's mean taken off and all directions made equally broad, but for a ridge."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    whitened = centred @ directions / np.sqrt(variances.clip(0) + _RIDGE * variances.mean() + 1e-12)
    return np.asarray(whitened / np.maximum(np.linalg.norm(whitened, axis=1, keepdims=True), 1e-12))
