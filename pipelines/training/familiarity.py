"""What images a network knows, learnt from those that trained it, and kept beside its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence, Sized
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from torch import nn

from ...networks.features import telling_levels
from ..bundling.bundles import members_of
from ..bundling.familiarity import LEAST, Familiarity, write_familiarity
from ..bundling.gate import Bundle, admit
from ..bundling.settings import workflow_config
from ..bundling.verify.listing import FAMILIARITY
from ..bundling.weights import load_weights
from ..core.errors import DelineateError, counted, printable
from ..core.ranks import rank
from ..inference.features import features_of
from ..inference.segmenter import Segmenter
from ..loading.datasets import StreamDataset, load_datalist

logger = logging.getLogger(__name__)
MOST = 1000
"""Images of each split that are looked at, spread over its list."""


class FamiliarityWriter:
    """When the training ends, learns what images its best network knows; see `learn_familiarity`.

    Args:
        bundle_root: folder of the run.
        network: the network, whose best weights are in ``models/``.
        inferer: that of the validation.
        training: the training images, prepared for the network, not augmented.
        validation: the validation images likewise.
        device: where it is computed.
    """

    def __init__(
        self,
        bundle_root: str | Path,
        network: nn.Module,
        inferer: Callable[..., Any],
        training: Sequence[Any],
        validation: Sequence[Any],
        device: str | torch.device = "cpu",
    ) -> None:
        self.bundle_root, self.network, self.inferer, self.device = Path(bundle_root), network, inferer, device
        self.training, self.validation = training, validation

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, behind what saves the best weights."""
        if rank() == 0:
            engine.add_event_handler(Events.COMPLETED, self.completed)

    def completed(self, _: Engine) -> None:
        """Learn and write it; what is in the way of that is a warning: the training itself is done."""
        if not telling_levels(self.network) or not (self.bundle_root / "models" / "model.pt").is_file():
            return
        try:
            network = load_weights(deepcopy(self.network), self.bundle_root, self.device)
            images = [_images(self.training), _images(self.validation)]
            _learn(network, self.inferer, images, self.bundle_root / "models", torch.device(self.device))
        except DelineateError as error:
            logger.warning(f"images will not be compared with those of the training: {error}")


def learn_familiarity(run: Bundle, data: str | Path, fold: int | None = None, trust: bool = False) -> Path:
    """Learn from a data set what images a bundle's network knows, so that others are flagged from now on.

    The features of training images tell how far those of an image are from them; those of validation images, how far
    that may be.

    Args:
        run: a run or bundle with weights.
        data: the data set that it was trained with.
        fold: of a data set with folds, the one that is the validation; the run's own where ``None``.
        trust: use it although verification has findings.

    Returns:
        the file that was written.

    Raises:
        DelineateError: it is an ensemble, its network has no features that are known, or the data cannot be read.
    """
    admission = admit(run, trust)
    if members_of(admission.folder):
        raise DelineateError(
            f"{printable(admission.folder)} is an ensemble: learn it of each member, and put them together again"
        )
    segmenter = Segmenter(admission, backend="torch")
    if not telling_levels(segmenter.network):
        raise DelineateError(
            f"the features of a {type(segmenter.network).__name__} are not known here: its images cannot be compared "
            "with those of the training"
        )
    fold = workflow_config(admission.folder, "train").get("fold") if fold is None else fold
    structures = [one.as_dict() for one in segmenter.structures] or None

    def images(split: str) -> Iterator[MetaTensor]:
        items = load_datalist(data, split, fold=fold, slicing=segmenter.slicing, structures=structures)
        for item in StreamDataset([items[index] for index in spread(items)], segmenter.preprocessing):
            yield item["image"]

    splits = [images(split) for split in ("training", "validation")]
    return _learn(segmenter.network, segmenter.inferer, splits, admission.folder / "models", segmenter.device)


def _images(dataset: Sequence[Any]) -> Iterator[MetaTensor]:
    for index in spread(dataset):
        yield dataset[index]["image"]


def spread(images: Sized, most: int = MOST) -> list[int]:
    """Places of at most so many images, spread evenly."""
    parts = min(len(images), most)
    return [(2 * index + 1) * len(images) // (2 * parts) for index in range(parts)]


def _learn(
    network: nn.Module,
    inferer: Callable[..., Any],
    images: Sequence[Iterator[MetaTensor]],
    models: Path,
    device: torch.device,
) -> Path:
    """Learn it from training and validation images, and write it."""
    training, validation = (features_of(network, inferer, each, device) for each in images)
    if not len(training) or not len(validation):
        raise DelineateError("there is no training image, or no validation image, that could be read")
    write_familiarity(models, [Familiarity.of(training, validation)])
    judged, few = counted(len(validation), "validation image"), len(validation) < LEAST
    limit = (
        f"is uncertain, because it comes from {judged} ({LEAST} or more would do)" if few else f"comes from {judged}"
    )
    logger.info(
        f"check for unfamiliar images: learnt from {counted(len(training), 'training image')}; its limit {limit}"
    )
    return models / FAMILIARITY
