"""The one door inside: every outer door that makes masks from images calls :class:`Segmenter`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader

from .data.datasets import StreamDataset
from .data.inputs import find_images
from .errors import DelineateError, InputError
from .gate import admit
from .outputs import Assembler, Segmentation

logger = logging.getLogger(__name__)


class Segmenter:
    """Loads a bundle's ``inference.yaml`` once and outlines what it is trained for in any number of images.

    Args:
        bundle: folder of a bundle or run, or the name of a shipped bundle.
        trust: use the bundle although verification has findings; it may then run any code.
        settings: ids of ``inference.yaml`` and their values, e.g. ``threshold=0.3``, ``device="cpu"``.

    Raises:
        UnknownNameError: when there is no such bundle.
        UnverifiedError: when it is no part of the package, and verification has findings.
        DelineateError: when it has no weights, or they do not fit.

    Example::

        for result in Segmenter("runs/skin").segment(["photos"]):
            print(result.source, result.mask.sum(), "pixels")
    """

    def __init__(self, bundle: str | Path, *, trust: bool = False, **settings: Any) -> None:
        self.admission = admit(bundle, trust)
        self.bundle = self.admission.folder
        parser = ConfigParser()
        parser.read_config(str(self.bundle / "configs" / "inference.yaml"))
        parser.read_meta(str(self.bundle / "configs" / "metadata.json"))
        parser.update({"bundle_root": str(self.bundle), **settings})
        self.device = torch.device(parser.get_parsed_content("device"))
        self.network = parser.get_parsed_content("network")
        self.preprocessing = parser.get_parsed_content("preprocessing")
        self.slicing = parser.get_parsed_content("slicing") if "slicing" in parser else None
        self.inferer = parser.get_parsed_content("inferer")
        self.postprocessing = parser.get_parsed_content("postprocessing")

    def segment(
        self, sources: str | Path | Sequence[str | Path], on_error: Callable[[InputError], None] | None = None
    ) -> Iterator[Segmentation]:
        """Outline each image, one after the other.

        Args:
            sources: files (pictures, DICOM, volumes), folders, globs.
            on_error: called with each input that is refused. Without it they are logged, and the generator ends by
                raising when all others are done.

        Yields:
            one result an image, on the image's own grid; a volume's slices come together as one.

        Raises:
            DelineateError: at the end, naming the refused inputs, unless ``on_error`` is given.
        """
        refused: list[InputError] = []

        def refuse(error: InputError) -> None:
            refused.append(error)
            on_error(error) if on_error else logger.error(str(error))

        stream = StreamDataset(find_images(sources, refuse, self.slicing), self.preprocessing, refuse)
        assembler = Assembler()
        for batch in DataLoader(stream, batch_size=1, num_workers=0):
            try:
                output = self._segment_one(batch)
            except InputError as error:  # the network has no answer to it
                if error.source not in {known.source for known in refused}:  # one refusal a volume is enough
                    refuse(error)
                continue
            if (result := assembler.add(output)) is not None:
                yield result
        if refused and not on_error:
            raise DelineateError(f"{len(refused)} input(s) refused: " + "; ".join(map(str, refused)))

    @torch.no_grad()
    def _segment_one(self, batch: dict[str, Any]) -> dict[Any, Any]:
        """As ``SupervisedEvaluator`` does it, for a batch of one image (1, C, H, W)."""
        image = batch["image"]
        logits = self.inferer(image.to(self.device), self.network)
        output: dict[Any, Any] = self.postprocessing({"image": image[0], "name": batch["name"][0], "pred": logits[0]})
        return output
