"""The one class inside: every interface that makes masks from images calls :class:`Segmenter`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from threading import Lock
from typing import Any

import torch
from monai.bundle import ConfigParser

from ..bundling.gate import Admission
from ..bundling.settings import backend_settings, refuse_unknown, refuse_wrong_values
from ..core.ahead import Attempts
from ..core.cores import use_own_cores
from ..core.errors import plain_errors
from ..imaging.structures import structures_of
from .backends.runner import Runner
from .familiarity import DISTANCE, noted_distance
from .inferer import computed_by
from .outlining import Fields, Outlining
from .results import facts_of, model_of, used_thresholds


class Segmenter(Outlining):
    """Loads a bundle's ``inference.yaml`` once and outlines what it is trained for in any number of images.

    Args:
        bundle: folder of a bundle or run, the name of a shipped bundle, or one that was let in (`admit`); of several
            runs in a list, the mean of their probabilities is taken, as `make_ensemble` does.
        trust: use the bundle although verification has findings; it may then run any code.
        backend: what computes the network: ``"torch"``, ``"onnxruntime"``, ``"openvino"``, or ``"auto"``, the fastest
            on this machine; where ``None``, the bundle's own setting, which is torch unless it was set.
        settings: ids of ``inference.yaml`` and their values, e.g. ``threshold=0.3``, ``threshold={"heart": 0.3}``,
            ``device="cpu"``, ``tta="flips"``.

    Attributes:
        structures: what it outlines, in the order of the network's channels; none where that has no name.
        thresholds: those that are used, by the names of structures; none where the bundle does not tell.
        model: what DICOM objects say of the bundle.
        facts: cells that its rows in ``results.csv`` share.

    Raises:
        UnknownNameError: when there is no such bundle or backend, or its ``inference.yaml`` has no such setting.
        UnverifiedError: when it is no part of the package, and verification has findings.
        DelineateError: when it has no weights, they do not fit, a setting cannot be what it is, or several runs
            prepare images differently.

    Example::

        for result in Segmenter("runs/skin").segment(["photos"]):
            print(result.source, {name: mask.sum() for name, mask in result.masks.items()})
    """

    def _load(self, admission: Admission, backend: str | None, settings: Mapping[str, Any]) -> None:
        self.admission, self.bundle = admission, admission.folder
        parser = ConfigParser()
        parser.read_config(str(self.bundle / "configs" / "inference.yaml"))
        parser.read_meta(str(self.bundle / "configs" / "metadata.json"))
        refuse_unknown(self.bundle, parser.config, "inference", settings)
        refuse_wrong_values(parser.config | settings)
        by_backend = backend_settings(self.bundle, parser.config, backend, settings)
        parser.update({"bundle_root": str(self.bundle), **settings, **by_backend})
        with plain_errors():
            self.device = torch.device(parser.get_parsed_content("device"))
            self.network = parser.get_parsed_content("network")
            self.preprocessing = parser.get_parsed_content("preprocessing")
            structures, threshold, exclusive, self.slicing, tta = (
                parser.get_parsed_content(id_) if id_ in parser else None
                for id_ in ("structures", "threshold", "exclusive", "slicing", "tta")
            )
            self.structures = structures_of(structures)
            self.thresholds = used_thresholds(structures, threshold, bool(exclusive))
            self.inferer = parser.get_parsed_content("inferer")
            backend = computed_by(self.inferer, self.network, self.device)
            self.model = model_of(admission, self.thresholds, tta, backend)
            self.facts = facts_of(admission, tta, backend)
            self.in_channels = int(parser.get_parsed_content("in_channels"))
            rows, columns = parser.get_parsed_content("window")
            self.postprocessing = parser.get_parsed_content("postprocessing")
        self.window: tuple[int, int] = (rows, columns)
        self._grid: tuple[int, ...] = tuple(
            parser.get_parsed_content("image_size" if "image_size" in parser else "window")
        )
        self._finishing = Lock()  # Invertd changes the transforms that it inverts, for the time of a call

    def __repr__(self) -> str:
        return f"<Segmenter of {self.bundle} on {self.device}>"

    def _prepare(self, item: Fields) -> Fields:
        prepared: Fields = self.preprocessing(item)
        return prepared

    @property
    def _on_cpu(self) -> bool:
        return bool(self.device.type == "cpu")

    def _ahead(self, items: Iterable[Fields]) -> Attempts[Fields, Fields]:
        if self._on_cpu:
            use_own_cores()
        return super()._ahead(items)

    @cached_property
    def _one_thread_computes_the_same(self) -> bool:  # type: ignore[override]  # kept once it is known
        """Of float32 some kernels share out their sums.

        Which kernels depends on shapes, and all images have that of the network's grid.
        """
        if (usual := torch.get_num_threads()) == 1:
            return True
        if isinstance(self.network, Runner):  # its threads are its own
            return False
        image = torch.rand(1, self.in_channels, *self._grid, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits = self.inferer(image, self.network)
            torch.set_num_threads(1)
            try:
                return bool(torch.equal(self.inferer(image, self.network), logits))
            finally:
                torch.set_num_threads(usual)

    @torch.no_grad()
    def _infer(self, item: Fields) -> Fields:
        """As ``SupervisedEvaluator`` does it, for a batch of one image (1, C, H, W)."""
        image = item["image"][None].to(self.device)
        logits = self.inferer(image, self.network)
        item["image"].meta[DISTANCE] = noted_distance(image)
        known = {key: item[key] for key in ("image", "name", "held") if key in item}
        return {**known, "pred": logits[0]}

    @torch.no_grad()
    def _finish(self, output: Fields) -> Fields:
        with self._finishing:
            finished: Fields = self.postprocessing(output)
        return finished
