"""A trainer and a validator, real ones, so small that an epoch takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.metrics import Metric
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler

from delineate.pipelines.training.checkpoint import CheckpointSaver, EarlyStop
from delineate.pipelines.training.finite import StopWhenNotFinite
from delineate.pipelines.training.history import EpochSeed, HistoryLogger


class Scripted(Metric):
    """A validation metric that is what the test says, epoch by epoch."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = iter(scores)
        super().__init__(output_transform=lambda _: (0, 0))

    def reset(self) -> None:
        pass

    def update(self, output: Any) -> None:
        pass

    def compute(self) -> float:
        return next(self.scores)


@dataclass
class Training:
    """The parts of one training session."""

    trainer: SupervisedTrainer
    validator: SupervisedEvaluator
    network: torch.nn.Module
    history: HistoryLogger
    saver: CheckpointSaver

    def run(self) -> int:
        """Train; return the last epoch."""
        self.trainer.run()
        return int(self.trainer.state.epoch)

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.network.parameters()])


class Batches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Four images whose pixels depend on the epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(10 * self.epoch + index))
        return {"image": image, "label": (image > 0.5).float()}


Build = Callable[..., Training]


def builder(folder: Path) -> Build:
    """Make trainings in ``folder`` that validate with the scores given."""

    def make(
        scores: Sequence[float],
        epochs: int,
        *,
        resume: bool = False,
        interval: int = 1,
        patience: int = 0,
        cycle: int = 0,
        **more: Any,
    ) -> Training:
        since = int(more.get("extended_from", 0))
        torch.manual_seed(0)
        dataset, network = Batches(), torch.nn.Conv2d(1, 1, 3, padding=1)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        if cycle:
            schedule: Any = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=cycle)
        else:
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        device, loader = torch.device("cpu"), torch.utils.data.DataLoader(dataset, batch_size=2, shuffle=True)
        validator = SupervisedEvaluator(
            device, loader, network, key_val_metric={"val_mean_dice": Scripted(scores)}, decollate=False
        )
        history = HistoryLogger(validator, optimizer, folder / "logs")
        parts = {"network": network, "optimizer": optimizer, "lr_scheduler": schedule, "history": history}
        saver = CheckpointSaver(folder / "models", parts, validator, resume=resume, **more)
        handlers = [
            EpochSeed(dataset, 0),
            StopWhenNotFinite(network, optimizer),
            *([LrScheduleHandler(schedule, print_lr=False, epoch_level=False)] if cycle else []),
            ValidationHandler(interval, validator),
            history,
            saver,
            EarlyStop(validator, patience, since),
        ]
        trainer = SupervisedTrainer(
            device, epochs, loader, network, optimizer, torch.nn.BCEWithLogitsLoss(), train_handlers=handlers,
            decollate=False,
        )  # fmt: skip
        return Training(trainer, validator, network, history, saver)

    return make
