"""A bundle's network in int8, kept only where its masks are as good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from ..bundling.exports import name_export
from ..bundling.familiarity import Familiarity, familiarity_of, write_familiarity
from ..bundling.settings import INT8_GRAPHS
from ..core.cores import use_own_cores
from ..core.errors import DelineateError, UnknownNameError, printable
from ..datasets.datalist import Datalist
from ..imaging.item import Item
from ..inference.backends import onnxruntime, openvino
from ..inference.backends.graphs import graph_of
from ..inference.backends.runner import Runner
from ..inference.features import features_of
from ..inference.segmenter import Segmenter
from .judged import Judged, judge, prepared
from .keeping import is_within, keep
from .quantized import nncf_package, quantize_onnx, quantize_openvino

_FORMATS: dict[str, tuple[str, Any, Callable[..., None]]] = {
    "onnx": ("onnxruntime-int8", onnxruntime, quantize_onnx),
    "openvino": ("openvino-int8", openvino, quantize_openvino),
}
_LEARNT = 1000  # images of each split, as of the bundle's own


class Int8Export(NamedTuple):
    """What was written.

    Attributes:
        path: the file.
        judged: what it costs.
        thresholds: those to use with it, of the bundle's structures.
    """

    path: Path
    judged: Judged
    thresholds: Any


def export_int8(
    bundle: str | Path,
    data: str | Path,
    format_: str = "onnx",
    out: str | Path | None = None,
    *,
    calibrate: int = 100,
    auto: bool = False,
    trust: bool = False,
) -> Int8Export:
    """Write a bundle's network in int8, calibrated on training images and judged on validation images.

    Args:
        bundle: folder of a run or bundle.
        data: folder with ``datalist.json``.
        format_: ``onnx`` or ``openvino``.
        out: the file; in the bundle's ``models/`` where ``None``, which the backend ``onnxruntime-int8`` or
            ``openvino-int8`` then takes.
        calibrate: training images to calibrate on, spread over the list.
        auto: let the backend ``auto`` take it where it is the fastest.
        trust: use the bundle although verification has findings.

    Raises:
        UnverifiedError: the bundle is no part of the package, and verification has findings.
        DelineateError: its mean Dice drops by more than 0.005, it cannot be told, or a package is missing; nothing is
            kept then.
        UnknownNameError: there is no such format or bundle.
    """
    if format_ not in _FORMATS:
        raise UnknownNameError("format for int8", format_, _FORMATS)
    backend, module, quantize = _FORMATS[format_]
    module.runtime()
    if format_ == "openvino":
        nncf_package()
    name = INT8_GRAPHS[backend]
    segmenter = Segmenter(bundle, device="cpu", precision="float32", trust=trust, backend="torch")
    known, models = Datalist.read(data), segmenter.bundle / "models"
    path = Path(out) if out is not None else models / name
    if path.suffix != Path(name).suffix:
        raise DelineateError(f"{path}: what is written is {format_}; name it {Path(name).suffix}")
    shape = (1, segmenter.in_channels, *segmenter.window)
    images = _calibration(segmenter, known, calibrate)
    use_own_cores()
    with TemporaryDirectory(prefix="delineate-") as temporary:
        written = Path(temporary) / name
        graph = graph_of(segmenter.network, segmenter.bundle, shape, ("model.onnx",), any_size=True)
        quantize(graph, images, written)
        compute, told = module.open_graph(written, "int8", torch.get_num_threads())
        int8 = Runner(compute, told)
        judged = judge(segmenter, int8, known)
        judged.refuse_worse()
        familiar = _familiar(segmenter, int8, known) if is_within(path, models) else []
        del compute, int8
        keep(written, path, models)
    thresholds = _named(segmenter, judged.thresholds)
    if is_within(path, models):
        if familiar:
            write_familiarity(models, familiar, familiarity_of(path.name))
        name_export(models, path.name, _facts(judged, thresholds, format_, told, len(images), auto))
    return Int8Export(path, judged, thresholds)


def _familiar(segmenter: Segmenter, int8: Runner, data: Datalist) -> list[Familiarity]:
    """What images the network knows, learnt anew: in int8 its features are others, and another limit is not enough.

    Nothing where the bundle knows none, or is an ensemble.
    """
    if len(getattr(segmenter.network, "familiarity", ())) != 1:
        return []
    splits = [_spread(data.part(split), _LEARNT) for split in ("training", "validation")]
    images = [(prepared(segmenter, item) for item in items) for items in splits]
    training, validation = (features_of(int8, segmenter.inferer, each, segmenter.device) for each in images)
    return (
        [Familiarity.of(training, validation)] if training.size and validation.size else []
    )  # a graph of another tool


def _calibration(segmenter: Segmenter, data: Datalist, count: int) -> list[Any]:
    """Images of the training as the network gets them; of larger ones a window from the middle."""
    items = data.part("training")
    if not items:
        raise DelineateError(f"{printable(data.folder)} has no training images to calibrate on; give one that is split")
    return [_middle(prepared(segmenter, item), segmenter.window) for item in _spread(items, count)]


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many, spread over the list."""
    return [items[place] for place in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)]


def _middle(image: Any, window: tuple[int, int]) -> Any:
    top, left = (max(0, (whole - part) // 2) for whole, part in zip(image.shape[1:], window, strict=True))
    part = image[:, top : top + window[0], left : left + window[1]]
    return np.ascontiguousarray(np.asarray(part)[None], np.float32)


def _named(segmenter: Segmenter, thresholds: list[float]) -> Any:
    """As the setting ``threshold`` takes them."""
    if not thresholds:
        return None
    names = [one.name for one in segmenter.structures]
    return dict(zip(names, thresholds, strict=True)) if names else thresholds[0]


def _facts(judged: Judged, thresholds: Any, format_: str, told: str, calibrated: int, auto: bool) -> dict[str, Any]:
    dice = {"float32": round(judged.float32, 6), "int8": round(judged.int8, 6), "drop": judged.drop}
    return {
        **{"format": format_, "precision": "int8", "computed_by": told, "auto": auto, "threshold": thresholds},
        **{"mean_dice": dice, "validation_images": judged.images, "training_images": calibrated},
        "lost": [{"image_sha256": one.sha256, "float32": one.float32, "int8": one.int8} for one in judged.lost],
    }
