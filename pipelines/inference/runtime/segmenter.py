"""`Segmenter` without torch: a bundle's exported graph, and numpy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...bundling.bundles import members_of
from ...bundling.exports import sound_export
from ...bundling.familiarity import read_familiarity
from ...bundling.gate import Admission
from ...bundling.settings import BACKENDS, INT8_GRAPHS, backend_settings, workflow_config
from ...core.cores import compute_threads
from ...core.errors import DelineateError, UnknownNameError, printable
from ...core.finite import not_finite_answer
from ...imaging.item import Item
from ...imaging.structures import refuse_other_channels, structures_of, thresholds_of
from ...imaging.volumes.slicing import Slicing
from ...loading.reading import read_with_meta
from ..backends import Compute, backend_of, familiar_to, int8_graph, unreadable
from ..familiarity import DISTANCE, mean_distance
from ..outlining import Fields, Outlining
from ..results import facts_of, model_of, used_thresholds
from ..views import refuse_oblong, views_of
from .plan import Plan, read_plan
from .resampling import resize
from .windows import slide

logger = logging.getLogger(__name__)
Floats = NDArray[np.float32]
_USUAL = "onnxruntime"


class Prepared(NamedTuple):
    """An image on the network's grid.

    Attributes:
        pixels: (C, H, W), uint8.
        meta: as `ReadImaged` has it.
    """

    pixels: NDArray[np.uint8]
    meta: dict[str, Any]


class GraphSegmenter(Outlining):
    """Outlines what a bundle is trained for, by the graph that ``delineate export`` wrote into it.

    Args:
        bundle: its folder.
        trust: use the bundle although verification has findings.
        backend: ``"onnxruntime"`` or another runtime that is installed; ``None`` and ``"auto"`` take that one.
        settings: as for `Segmenter`.

    Raises:
        UnknownNameError: when there is no such bundle, backend or setting.
        UnverifiedError: when verification has findings.
        DelineateError: when it has no exported graph of its weights, prepares images in a way of its own, or a setting
            cannot be what it is.
    """

    def _load(self, admission: Admission, backend: str | None, settings: Mapping[str, Any]) -> None:
        self.admission, self.bundle = admission, admission.folder
        config = workflow_config(self.bundle, "inference")
        backend = _chosen(backend, config.get("backend"))
        by_backend = backend_settings(self.bundle, config, backend, settings)
        fitted = {name: value for name, value in by_backend.items() if name == "threshold"}
        self.plan = plan = read_plan(self.bundle, {**settings, **fitted})
        self.structures, self.slicing = structures_of(plan.structures), Slicing.of(plan.slicing)
        self.thresholds = used_thresholds(plan.structures, plan.threshold, plan.exclusive)
        self._limits = thresholds_of(self.structures, plan.threshold, plan.exclusive)
        self._views = views_of(plan.tta, plan.flip_left_right, plan.upright)
        self._compute, told, path = _open(self.bundle, backend, plan)
        logger.info(f"network computed by {told}")
        known = read_familiarity(self.bundle / "models", len(members_of(self.bundle)) or 1)
        self._familiarity = familiar_to(path, known) if backend in INT8_GRAPHS else known
        self.model = model_of(admission, self.thresholds, plan.tta, told)
        self.facts = facts_of(admission, plan.tta, told)

    def __repr__(self) -> str:
        return f"<GraphSegmenter of {self.bundle}>"

    def _prepare(self, item: Fields) -> Fields:
        named = Item.from_fields(item)
        pixels, meta = read_with_meta(named, self.plan.channels, Slicing.of(self.slicing), self.plan.in_channels)
        known = {key: item[key] for key in ("name", "held") if key in item}
        return known | {"image": Prepared(resize(pixels, self.plan.image_size), meta)}

    def _infer(self, item: Fields) -> Fields:
        image = (item["image"].pixels.astype(np.float32) / np.float32(255))[None]
        refuse_oblong(self._views, image)
        probabilities: list[Floats] = []
        for view in self._views:
            logits, features = slide(np.ascontiguousarray(view.of(image)), self.plan.window, self._compute)
            if not np.isfinite(logits).all():
                raise not_finite_answer(item["image"].meta["filename_or_obj"])
            if features and self._familiarity and not probabilities:  # of the image as it is, which is the first view
                exact = [each.astype(np.float64) for each in features]
                item["image"].meta[DISTANCE] = mean_distance(self._familiarity, exact)
            probabilities.append(_probabilities(view.back(logits)[0], self.plan.exclusive))
        return item | {"pred": np.mean(probabilities, 0)}

    def _finish(self, output: Fields) -> Fields:
        channels = resize(output["pred"], output["image"].meta["spatial_shape"])
        refuse_other_channels(len(channels), len(self._limits), self.plan.exclusive)
        probability = channels[1:] if self.plan.exclusive else channels
        mask = probability >= np.asarray(self._limits, np.float32)[:, None, None]
        if self.plan.exclusive:
            mask &= channels.argmax(0) == np.arange(1, len(channels))[:, None, None]
        return output | {"pred": mask.astype(np.uint8), "probability": probability}


def _probabilities(logits: Floats, exclusive: bool) -> Floats:
    """Softmax over the channels of (C, H, W) where they are exclusive, else the sigmoid of each."""
    with np.errstate(over="ignore"):  # of a logit of -89, whose probability is 0 in float32
        powers: Floats = np.exp(logits - logits.max(0) if exclusive else -logits)
    return powers / powers.sum(0) if exclusive else np.float32(1) / (np.float32(1) + powers)


def _chosen(backend: str | None, usual: str | None) -> str:
    if backend is None:
        return usual if usual in BACKENDS and usual not in ("auto", "torch") else _USUAL
    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    if backend == "torch":
        raise DelineateError("torch is not installed here; leave the backend out, or use the full installation")
    return _USUAL if backend == "auto" else backend


def _open(bundle: Path, backend: str, plan: Plan) -> tuple[Compute, str, Path]:
    """What computes the bundle's graph, tried once; what records call it; the graph."""
    module, int8 = backend_of(backend), backend in INT8_GRAPHS
    names = [name for name in module.GRAPHS if sound_export(bundle / "models", name, "float32")]
    if not int8 and not names:
        raise DelineateError(
            f"{printable(bundle)} has no exported graph of its weights ({' or '.join(module.GRAPHS)} in models/, as "
            "exports.json names it); on a machine with the full installation 'delineate export BUNDLE --format onnx "
            "--out FOLDER' makes a folder that has: copy it here"
        )
    path = int8_graph(bundle, backend) if int8 else bundle / "models" / names[0]
    try:
        compute, told = module.open_graph(path, "int8" if int8 else plan.precision, compute_threads())
        compute(np.zeros((1, plan.in_channels, *plan.window), np.float32))
    except DelineateError:
        raise
    except Exception as error:  # each runtime has kinds of its own
        raise unreadable(path, backend, error) from error
    return compute, told, path
