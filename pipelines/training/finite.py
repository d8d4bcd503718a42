"""The end of a training whose numbers are none."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from torch import nn

from ..core.errors import DelineateError
from ..core.finite import REMEDY, not_finite


class StopWhenNotFinite:
    """Raises when a loss, or a weight after an epoch, is NaN or infinite; what was saved before stays.

    Attach it before the validation, so that nobody judges such weights, and before what saves a state.

    Args:
        network: whose weights are looked at.
        optimizer: whose learning rate is named.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self._before: torch.Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def iteration_completed(self, engine: Engine) -> None:
        """Judge the loss before this one: a GPU that still computes this one is not waited for."""
        self._judge(engine, self._before)
        self._before = engine.state.output["loss"].detach()

    def epoch_completed(self, engine: Engine) -> None:
        """Judge the last loss, and the weights.

        Raises:
            DelineateError: when they are not finite; it says in which epoch, and what to do.
        """
        self._judge(engine, self._before)
        self._before = None
        if names := not_finite(self.network.state_dict()):
            raise self._error(engine, f"{len(names)} tensors of the weights ({names[0]}, ...) are not finite")

    def _judge(self, engine: Engine, loss: torch.Tensor | None) -> None:
        if loss is not None and not bool(torch.isfinite(loss).all()):
            raise self._error(engine, f"the loss is {float(loss.mean()):g}")

    def _error(self, engine: Engine, seen: str) -> DelineateError:
        rate = self.optimizer.param_groups[0]["lr"]
        return DelineateError(
            f"epoch {engine.state.epoch}: {seen} (learning rate {rate:g}); {REMEDY}, and train again; "
            "what the epochs before left is untouched"
        )
