"""Mean teacher: what a training learns from images without masks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import IterationEvents
from monai.inferers import Inferer
from torch import nn

from ..core.errors import WrongValueError
from ..loading.datasets import AugmentedDataset, EpochSampler
from .distributed import own_batch_size


class MeanTeacher:
    """Adds to the loss of a training how far the network differs from its teacher on images without masks.

    The teacher is the exponential moving average of the network's weights (`WeightAverage`), as in Tarvainen and
    Valpola, Mean teachers are better role models, NeurIPS 2017, https://arxiv.org/abs/1703.01780. It sees an image as
    the augmentation of labelled images turns and mirrors it; the network sees the same with much stronger changes of
    its values, and with a rectangle out of another image (CutMix), in which the teacher's answer to that one counts:
    French et al., Semi-supervised semantic segmentation needs strong, varied perturbations, BMVC 2020,
    https://arxiv.org/abs/1906.01916. What is compared are probabilities, by their squared difference, summed over
    the classes of a pixel.

    Attach it to a trainer of MONAI. The teacher is the better of the two, so it is what should be validated and kept.
    Nothing random depends on what was before an epoch: so a training is resumed to the bit.

    Args:
        network: the one that is trained.
        teacher: its average, as of `kept_network`.
        items: of the images without masks, as of :func:`delineate.pipelines.loading.load_unlabelled`.
        dataset: what is drawn from: items with ``weak`` and ``strong``, (C, H, W), 0-1, on one grid.
        inferer: how the networks are applied.
        exclusive: whether probabilities are a softmax over the channels; else each is a sigmoid.
        batch_size: images without masks in an iteration, of all processes together.
        seed: of their order; a non-negative integer.
        weight: of the difference in the loss, at the end of the ramp.
        ramp_up: epochs in which the weight grows from 0; 0 for none.

    Raises:
        WrongValueError: the teacher is the network itself.
    """

    def __init__(
        self,
        network: nn.Module,
        teacher: nn.Module,
        items: Sequence[Any],
        dataset: AugmentedDataset,
        inferer: Inferer,
        exclusive: bool = False,
        batch_size: int = 8,
        seed: int = 0,
        weight: float = 1.0,
        ramp_up: float = 0,
    ) -> None:
        if teacher is network:
            raise WrongValueError("ema is 0, so the network has no teacher; set a share of 1, e.g. ema=0.99")
        self.network, self.teacher, self.items, self.dataset = network, teacher, items, dataset
        self.inferer, self.exclusive, self.seed = inferer, exclusive, seed
        self.weight, self.ramp_up, self.sampler = weight, ramp_up, EpochSampler(dataset, seed)
        own, whole = own_batch_size(batch_size), len(dataset) >= batch_size
        self.loader = DataLoader(dataset, batch_size=own, sampler=self.sampler, drop_last=whole)
        self._batches: Iterator[dict[str, torch.Tensor]] = iter(())

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self.add_difference)

    def epoch_started(self, engine: Engine) -> None:
        """Begin with the images of this epoch."""
        self.dataset.set_epoch(engine.state.epoch)
        self.sampler.set_epoch(engine.state.epoch)
        self._batches = self._again_and_again()

    def _again_and_again(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from self.loader

    def add_difference(self, engine: Engine) -> None:
        """Add the weighted difference to the loss."""
        batch, device = next(self._batches), engine.state.device
        weak, strong = batch["weak"].to(device), batch["strong"].to(device)
        with torch.no_grad():
            expected = self._probabilities(weak, self.teacher)
        box = _boxes(len(weak), weak.shape[2:]).to(device)
        mixed = torch.where(box, strong.roll(1, 0), strong)
        expected = torch.where(box, expected.roll(1, 0), expected)
        squared = (self._probabilities(mixed, self.network) - expected).square()
        difference = squared.sum(1).mean() if self.exclusive else 2 * squared.mean()  # a sigmoid has two classes
        engine.state.output["loss"] = engine.state.output["loss"] + self._weight_of(engine) * difference

    def _probabilities(self, images: torch.Tensor, network: nn.Module) -> torch.Tensor:
        """(B, C, H, W) of a batch; of a network that supervises itself deeply, those of its finest logits."""
        found = self.inferer(images, network)
        logits: torch.Tensor = found[0] if isinstance(found, list | tuple) else found
        return logits.softmax(1) if self.exclusive else logits.sigmoid()

    def _weight_of(self, engine: Engine) -> float:
        """A Gaussian ramp, as in the publication."""
        epochs = (engine.state.iteration - 1) / engine.state.epoch_length
        left = max(1 - epochs / self.ramp_up, 0) if self.ramp_up else 0
        return self.weight * math.exp(-5 * left**2)


def _boxes(count: int, size: Sequence[int]) -> torch.Tensor:
    """A rectangle an image, of a half of its area and any proportions: (count, 1, H, W), true inside."""
    height, width = size
    rows = 0.5 ** torch.rand(count)
    sides = torch.stack([rows, 0.5 / rows], 1) * torch.tensor([height, width])
    corners = torch.rand(count, 2) * (torch.tensor([height, width]) - sides)
    y, x = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    (top, left), (tall, wide) = (part.round().T[..., None, None] for part in (corners, sides))
    inside: torch.Tensor = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
    return inside[:, None]
