"""Checkpoints that are never half written, and the way back from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..bundling.verify.listing import FAMILIARITY
from ..core.errors import DelineateError
from ..core.files import let_go, remove_leftovers
from ..core.finite import REMEDY, not_finite
from ..core.ranks import of_first, process_count, rank
from ..core.sums import settle_sums
from .pretrained import pretrained_with
from .runs import LOCK, hold_training
from .states import LAST, adopt_earlier, load_initial, load_last, save, save_last

logger = logging.getLogger(__name__)


class CheckpointSaver:
    """Saves the best network, the last states and every N-th network; resumes from the last state.

    ``model.pt`` in ``save_dir`` holds the network's state dict with the best validation metric, and is alone there:
    other tools take what they find for weights. In ``state_dir`` are the whole state of the training after the last
    epoch (``last.pt``) and after the one before (``previous.pt``), and the network every ``save_interval`` epochs
    (``epoch_NNNN.pt``). Each file is written beside its place and moved there, and its hash is in the folder's
    ``SHA256SUMS`` at any moment. Unlike MONAI's ``CheckpointSaver`` nothing is removed before its successor is
    complete, and the best metric survives a resume.

    Attach it to the trainer behind the validation, the learning-rate schedule and whatever else has a state. From then
    to the end of the training no other process may train in ``state_dir``. Of several processes that train together the
    first alone reads and writes files, and the others begin with its state.

    Args:
        save_dir: folder of the best weights.
        save_dict: what makes up the state, each with ``state_dict``, or ``None``; ``"network"`` is the network.
        validator: evaluator whose ``state.best_metric`` decides on ``model.pt``, and whose network it is that is kept.
        save_interval: epochs between the networks that are kept; 0 for none.
        resume: whether to go on from the last state where there is one.
        device: where the state is loaded to.
        state_dir: folder of the states; ``checkpoints`` beside ``save_dir`` where ``None``.
        extended_from: the epoch after which the schedule of the learning rate (``"lr_scheduler"`` of ``save_dict``)
            begins anew, with the rates and momenta that it gives ``"optimizer"``; 0 for never.
    """

    def __init__(
        self,
        save_dir: str | Path,
        save_dict: Mapping[str, Any],
        validator: Engine,
        save_interval: int = 0,
        resume: bool = False,
        device: str | torch.device = "cpu",
        state_dir: str | Path | None = None,
        extended_from: int = 0,
    ) -> None:
        self.save_dir, self.validator = Path(save_dir), validator
        self.save_dict = {name: part for name, part in save_dict.items() if part is not None}
        self.save_interval, self.resume, self.device = save_interval, resume, device
        self.state_dir = self.save_dir.parent / "checkpoints" if state_dir is None else Path(state_dir)
        self.extended_from = extended_from

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer.

        Raises:
            DelineateError: when another process is training there.
        """
        engine.add_event_handler(Events.STARTED, self.started)
        if rank() > 0:
            return
        hold_training(self.state_dir)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
        for last in (Events.COMPLETED, Events.TERMINATE):
            engine.add_event_handler(last, self.ended)

    def started(self, engine: Engine) -> None:
        """Load the last state if asked to.

        Raises:
            DelineateError: when it belongs to another network or schedule, or is damaged.
        """
        if rank() == 0:
            self._begin(engine)
        if process_count() > 1:
            state = of_first(self._state(engine))
            if rank() > 0:
                for name, part in self.save_dict.items():
                    part.load_state_dict(state[name])
                self._go_on(engine, state)

    def _begin(self, engine: Engine) -> None:
        hold_training(self.state_dir)
        for folder in (self.save_dir, self.state_dir):
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
        settle_sums(self.save_dir)
        adopt_earlier(self.save_dir, self.state_dir)
        state = load_last(self.state_dir, self.device) if self.resume else None
        if state is None:
            network = self.save_dict["network"]
            initial, before = load_initial(network, self.state_dir), pretrained_with(network)
            if self.resume:
                logger.info(f"no {self.state_dir / LAST} yet: training starts")
            elif initial is None and not before:
                logger.info("training starts from scratch")
            engine.state.initial_weights = initial or ({"encoder": before} if before else None)
            return
        try:
            self._load(state)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DelineateError(
                f"{self.state_dir / LAST} is of another network or optimizer ({reason}); "
                "train without resume, in another folder"
            ) from error
        self._go_on(engine, state)
        logger.info(f"resumed from {self.state_dir / LAST} after epoch {state['epoch']}")
        if state["epoch"] >= (engine.state.max_epochs or 0):
            logger.info(
                f"nothing is left to train: all {state['epoch']} epochs are done; --set max_epochs=N adds epochs"
            )

    def _go_on(self, engine: Engine, state: Mapping[str, Any]) -> None:
        """Count on from a state."""
        engine.state.epoch, engine.state.iteration = state["epoch"], state["iteration"]
        self.validator.state.best_metric = state["best_metric"]
        self.validator.state.best_metric_epoch = state["best_metric_epoch"]

    def _state(self, engine: Engine) -> dict[str, Any]:
        best = self.validator.state
        state = {name: part.state_dict() for name, part in self.save_dict.items()}
        state |= {"epoch": engine.state.epoch, "iteration": engine.state.iteration}
        state["pretrained"] = pretrained_with(self.save_dict["network"])
        return state | {"best_metric": float(best.best_metric), "best_metric_epoch": int(best.best_metric_epoch)}

    def _load(self, state: Mapping[str, Any]) -> None:
        """Load each part; where a run was extended, the schedule begins anew and the optimizer follows it."""
        epoch = state["epoch"]
        if epoch < self.extended_from:
            raise DelineateError(
                f"{self.state_dir / LAST} is of epoch {epoch}, before the run was extended at epoch "
                f"{self.extended_from}; restore the state of that epoch from a backup"
            )
        anew = 0 < self.extended_from == epoch
        groups = self.save_dict["optimizer"].param_groups if anew else []
        rates = [{name: value for name, value in group.items() if name != "params"} for group in groups]
        for name, part in self.save_dict.items():
            if not (anew and name == "lr_scheduler"):
                part.load_state_dict(state[name])
        for group, rate in zip(self.save_dict["optimizer"].param_groups, rates, strict=False):
            group.update(rate)

    def epoch_completed(self, engine: Engine) -> None:
        """Save what this epoch brought.

        Raises:
            DelineateError: when the weights are not finite; what was saved before stays.
        """
        epoch, best = engine.state.epoch, self.validator.state
        network = getattr(self.validator, "network", self.save_dict["network"]).state_dict()
        if names := not_finite(network):
            raise DelineateError(f"epoch {epoch}: {len(names)} tensors of the weights are not finite; {REMEDY}")
        if best.best_metric_epoch == epoch:
            save(network, self.save_dir / "model.pt", alone=True)
            (self.save_dir / FAMILIARITY).unlink(missing_ok=True)  # it was of the weights of before
        if self.save_interval and epoch % self.save_interval == 0:
            save(network, self.state_dir / f"epoch_{epoch:04d}.pt")
        save_last(self._state(engine), self.state_dir)

    def ended(self, _: Engine) -> None:
        """Let others train here."""
        let_go(self.state_dir / LOCK)


class EarlyStop:
    """Ends the training when the validation metric has not improved for ``patience`` epochs.

    Its only state is the validator's best epoch, so a resumed training stops where an unbroken one would.

    Args:
        validator: evaluator with ``state.best_metric_epoch``.
        patience: epochs; 0 never stops.
        since: the epoch from which it counts at the earliest: where a run was extended.
    """

    def __init__(self, validator: Engine, patience: int, since: int = 0) -> None:
        self.validator, self.patience, self.since = validator, patience, since

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, behind :class:`CheckpointSaver`."""
        engine.add_event_handler(Events.STARTED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Stop the trainer when patience has run out."""
        best = self.validator.state.best_metric_epoch
        if self.patience and best > 0 and engine.state.epoch - max(best, self.since) >= self.patience:
            logger.info(f"no better validation since epoch {best}: stopped after epoch {engine.state.epoch}")
            engine.terminate()
