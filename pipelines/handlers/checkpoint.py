"""Checkpoints that are never half written, and the way back from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..errors import DelineateError
from ..files import remove_leftovers, replacing
from ..weight_sums import write_sums

logger = logging.getLogger(__name__)


class CheckpointSaver:
    """Saves the best network, the last state and every N-th network; resumes from the last state.

    ``model.pt`` holds the network's state dict with the best validation metric, listed in ``SHA256SUMS``; ``last.pt``
    the whole state of the training after each epoch; ``epoch_NNNN.pt`` the network every ``save_interval`` epochs. Each
    file is written beside its place and moved there. Unlike MONAI's ``CheckpointSaver`` nothing is removed before its
    successor is complete, and the best metric survives a resume.

    Attach it to the trainer behind the validation, the learning-rate schedule and whatever else has a state.

    Args:
        save_dir: folder of the checkpoints.
        save_dict: what makes up the state, each with ``state_dict``; ``"network"`` is the network.
        validator: evaluator whose ``state.best_metric`` decides on ``model.pt``.
        save_interval: epochs between the networks that are kept; 0 for none.
        resume: whether to go on from ``last.pt`` where there is one.
        device: where the state is loaded to.
    """

    def __init__(
        self,
        save_dir: str | Path,
        save_dict: Mapping[str, Any],
        validator: Engine,
        save_interval: int = 0,
        resume: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        self.save_dir, self.save_dict, self.validator = Path(save_dir), dict(save_dict), validator
        self.save_interval, self.resume, self.device = save_interval, resume, device

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def started(self, engine: Engine) -> None:
        """Load the last state if asked to.

        Raises:
            DelineateError: when it belongs to another network or schedule.
        """
        self.save_dir.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.save_dir)
        path = self.save_dir / "last.pt"
        if not self.resume or not path.is_file():
            logger.info("training starts from scratch" if not self.resume else f"no {path} yet: training starts")
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        try:
            for name, part in self.save_dict.items():
                part.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DelineateError(
                f"{path} is of another network or optimizer ({reason}); train without resume, in another folder"
            ) from error
        engine.state.epoch, engine.state.iteration = state["epoch"], state["iteration"]
        self.validator.state.best_metric = state["best_metric"]
        self.validator.state.best_metric_epoch = state["best_metric_epoch"]
        logger.info(f"resumed from {path} after epoch {state['epoch']}")

    def epoch_completed(self, engine: Engine) -> None:
        """Save what this epoch brought."""
        epoch, best = engine.state.epoch, self.validator.state
        if best.best_metric_epoch == epoch:
            self._save(self.save_dict["network"].state_dict(), "model.pt")
            write_sums(self.save_dir, ["model.pt"])
        if self.save_interval and epoch % self.save_interval == 0:
            self._save(self.save_dict["network"].state_dict(), f"epoch_{epoch:04d}.pt")
        state = {name: part.state_dict() for name, part in self.save_dict.items()}
        state |= {"epoch": epoch, "iteration": engine.state.iteration}
        state |= {"best_metric": float(best.best_metric), "best_metric_epoch": int(best.best_metric_epoch)}
        self._save(state, "last.pt")

    def _save(self, state: Mapping[str, Any], name: str) -> None:
        with replacing(self.save_dir / name) as temporary, temporary.open("wb") as file:
            torch.save(state, file)  # given a path, its random name would be in the file: no two hashes alike


class EarlyStop:
    """Ends the training when the validation metric has not improved for ``patience`` epochs.

    Its only state is the validator's best epoch, so a resumed training stops where an unbroken one would.

    Args:
        validator: evaluator with ``state.best_metric_epoch``.
        patience: epochs; 0 never stops.
    """

    def __init__(self, validator: Engine, patience: int) -> None:
        self.validator, self.patience = validator, patience

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, behind :class:`CheckpointSaver`."""
        engine.add_event_handler(Events.STARTED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Stop the trainer when patience has run out."""
        best = self.validator.state.best_metric_epoch
        if self.patience and best > 0 and engine.state.epoch - best >= self.patience:
            logger.info(f"no better validation since epoch {best}: stopped after epoch {engine.state.epoch}")
            engine.terminate()
