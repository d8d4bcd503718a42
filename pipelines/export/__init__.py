"""A bundle's network in the formats of other runtimes: one module each, compared with torch before it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from ...networks.graphs import GraphAxes, graph_axes
from ..bundling.bundles import copy_with_weights, refuse_occupied
from ..bundling.exports import name_export
from ..core.errors import DelineateError, UnknownNameError, counted
from ..datasets.datalist import Datalist
from ..inference.backends import Compute
from ..inference.backends.graphs import made_image, refuse_other_logits
from ..inference.segmenter import Segmenter
from . import onnx, openvino, pt2, torchscript
from .judged import prepared
from .keeping import is_within, keep

_COMPARED = 8  # images of a data set


class Format(Protocol):
    """What a module here has."""

    SUFFIX: str

    def write(self, network: nn.Module, channels: int, axes: GraphAxes, path: Path) -> None:
        """Write the graph, and what belongs to it, beside it, under the same name with another suffix."""

    def open_graph(self, path: Path) -> tuple[Compute, str]:
        """What computes with what was written, as `inference.backends.Backend.open_graph` gives it."""


FORMATS: dict[str, Any] = {"onnx": onnx, "openvino": openvino, "pt2": pt2, "torchscript": torchscript}


class Export(NamedTuple):
    """What was written.

    Attributes:
        path: the file.
        difference: the largest between its logits and torch's.
        sizes: the rows and columns it was compared at.
        any_size: whether it takes other sizes than those of the bundle.
        compared: on what, in words.
    """

    path: Path
    difference: float
    sizes: list[tuple[int, int]]
    any_size: bool
    compared: str


def export_bundle(
    bundle: str | Path,
    format_: str = "onnx",
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    trust: bool = False,
) -> Export:
    """Write a bundle's network for another runtime, float32: image (B, C, H, W), 0-1, to logits.

    Resizing, sigmoid and threshold stay outside of the graph. What is written is compared with torch, on an image of
    the bundle's size and on a batch of another, before it is kept; in the bundle's ``models/`` its hash is listed, and
    ``models/exports.json`` says what it is.

    Args:
        bundle: folder of a run or bundle.
        format_: one of ``FORMATS``.
        out: the file; or, without a suffix, a new folder for a copy of the bundle that holds it, for machines without
            torch; ``models/model.onnx`` of the bundle, or of another suffix, where ``None``.
        data: folder with ``datalist.json``, whose first images it is compared on, too.
        trust: use the bundle although verification has findings.

    Raises:
        UnverifiedError: the bundle is no part of the package, and verification has findings.
        DelineateError: the format's packages are missing, or its logits are not those of torch; nothing is kept then.
        UnknownNameError: there is no such format or bundle.
    """
    if format_ not in FORMATS:
        raise UnknownNameError("format", format_, FORMATS)
    module: Format = FORMATS[format_]
    segmenter = Segmenter(bundle, device="cpu", trust=trust, backend="torch")
    channels, size = segmenter.in_channels, segmenter.window
    axes = graph_axes(segmenter.network, size)
    copy = Path(out) if out is not None and not Path(out).suffix else None
    if copy is not None:
        refuse_occupied(copy)
    models = (copy or segmenter.bundle) / "models"
    path = models / f"model{module.SUFFIX}" if copy or out is None else Path(out)
    if path.suffix != module.SUFFIX:
        raise DelineateError(f"{path}: what is written is {format_}; name it {module.SUFFIX}")
    images = list(islice(_images(segmenter, data), _COMPARED)) if data is not None else []
    sizes = list(dict.fromkeys([size, axes.tried]))
    made = [made_image((batch, channels, *sides)) for batch, sides in enumerate(sizes, start=1)]
    with TemporaryDirectory(prefix="delineate-") as temporary:
        written = Path(temporary) / f"model{module.SUFFIX}"
        module.write(segmenter.network, channels, axes, written)
        compute, told = module.open_graph(written)
        difference = max(
            refuse_other_logits(compute, segmenter.network, image, written, told) for image in [*made, *images]
        )
        del compute
        if copy is not None:
            copy_with_weights(segmenter.bundle, copy)
        keep(written, path, models)
    compared = f"{counted(len(images), 'image')} of {data} and made ones" if images else "made images"
    if is_within(path, models):
        facts = {"format": format_, "precision": "float32", "computed_by": told, "compared_on": compared}
        name_export(models, path.name, facts | {"difference": float(f"{difference:.3g}")})
    return Export(path, difference, sizes, len(axes.dynamic) > 1, compared)


def _images(segmenter: Segmenter, data: str | Path) -> Iterator[torch.Tensor]:
    """Images of a data set as the bundle prepares them, (1, C, H, W)."""
    for _, item in Datalist.read(data).labelled():
        yield prepared(segmenter, item)[None].as_tensor()
