"""A bundle's network in the formats of other runtimes: one module each, compared with torch before it is kept."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...networks.graphs import GraphAxes, graph_axes
from ..core.errors import DelineateError, UnknownNameError
from ..core.files import replacing
from ..core.sums import replacing_listed
from ..inference.segmenter import Segmenter
from . import onnx

TOLERANCE = 1e-3  # of a logit, as a share of the largest where that is above 1
_SEED = 0


class Format(Protocol):
    """What a module here has."""

    SUFFIX: str

    def write(self, network: nn.Module, channels: int, axes: GraphAxes, path: Path) -> None:
        """Write the graph."""

    def logits(self, path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute with what was written: (B, C, H, W) to logits of that shape."""


FORMATS: dict[str, Any] = {"onnx": onnx}


class Export(NamedTuple):
    """What was written.

    Attributes:
        path: the file.
        difference: the largest between its logits and torch's.
        sizes: the rows and columns it was compared at.
        any_size: whether it takes other sizes than those of the bundle.
    """

    path: Path
    difference: float
    sizes: list[tuple[int, int]]
    any_size: bool


def export_bundle(
    bundle: str | Path, format_: str = "onnx", out: str | Path | None = None, *, trust: bool = False
) -> Export:
    """Write a bundle's network for another runtime, float32: image (B, C, H, W), 0-1, to logits.

    Resizing, sigmoid and threshold stay outside of the graph. What is written is compared with torch, on an image of
    the bundle's size and on a batch of another, before it is kept; in the bundle's ``models/`` its hash is listed.

    Args:
        bundle: folder of a run or bundle.
        format_: one of ``FORMATS``.
        out: the file; ``models/model.onnx`` of the bundle where ``None``.
        trust: use the bundle although verification has findings.

    Raises:
        UnverifiedError: the bundle is no part of the package, and verification has findings.
        DelineateError: the format's packages are missing, or its logits are not those of torch; nothing is kept then.
        UnknownNameError: there is no such format or bundle.
    """
    if format_ not in FORMATS:
        raise UnknownNameError("format", format_, FORMATS)
    module = FORMATS[format_]
    segmenter = Segmenter(bundle, device="cpu", trust=trust, backend="torch")
    root = segmenter.bundle
    channels, size = segmenter.in_channels, segmenter.window
    axes = graph_axes(segmenter.network, size)
    path = Path(out) if out is not None else root / "models" / f"model{module.SUFFIX}"
    if path.suffix != module.SUFFIX:
        raise DelineateError(f"{path}: what is written is {format_}; name it {module.SUFFIX}")
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = list(dict.fromkeys([size, axes.tried]))
    with _replacing(path, root) as temporary:
        module.write(segmenter.network, channels, axes, temporary)
        difference = max(
            _difference(module, temporary, segmenter.network, (batch, channels, *sides))
            for batch, sides in enumerate(sizes, start=1)
        )
    return Export(path, difference, sizes, len(axes.dynamic) > 1)


def _replacing(path: Path, root: Path) -> AbstractContextManager[Path]:
    ours = path.resolve().parent == (root / "models").resolve()
    return replacing_listed(path) if ours else replacing(path)


def _difference(module: Format, path: Path, network: nn.Module, shape: tuple[int, ...]) -> float:
    """The largest difference of a logit on a random image.

    Raises:
        DelineateError: when it is too large.
    """
    image = torch.rand(shape, generator=torch.Generator().manual_seed(_SEED))
    with torch.no_grad():
        expected = network(image).numpy()
    found = module.logits(path, image.numpy())
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise DelineateError(
            f"the exported network differs from torch by up to {difference:.2g} of a logit at {shape}; it is not kept: "
            "try another version of torch and onnxruntime, and report it with the output of 'delineate info'"
        )
    return difference
