"""The running mean of a network's weights, which is what a training may validate and keep."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def copy_network(network: nn.Module) -> nn.Module:
    """A copy of a network that no optimizer changes."""
    return deepcopy(network).eval().requires_grad_(False)


def kept_network(network: nn.Module, ema: float = 0.0) -> nn.Module:
    """What a training validates and keeps: the network, or a copy that `WeightAverage` makes the mean of its weights.

    Args:
        network: the one that is trained.
        ema: what stays of the mean in an iteration, 0-1; 0: there is no mean.
    """
    return copy_network(network) if ema else network


class WeightAverage:
    """Makes a network the exponential moving average of another one's weights and statistics, step by step.

    Polyak BT, Juditsky AB. Acceleration of stochastic approximation by averaging. SIAM J Control Optim 1992,
    https://doi.org/10.1137/0330046; exponential as in Tarvainen A, Valpola H. Mean teachers are better role models.
    NeurIPS 2017, https://arxiv.org/abs/1703.01780. It is ``state_dict`` that a resumed training needs. ignite's
    ``EMAHandler`` copies the network when it is made, before a training has loaded the weights that it begins with.

    Args:
        network: the one that is trained.
        average: a copy of it, as of `kept_network`; where it is the network itself, nothing is done.
        ema: what stays of the average in an iteration, 0-1; in the first ones less.
    """

    def __init__(self, network: nn.Module, average: nn.Module, ema: float) -> None:
        self.network, self.average, self.ema, self.steps = network, average, ema, 0

    def state_dict(self) -> dict[str, Any]:
        """The average, and how often it was brought up to date; nothing where there is none."""
        if self.average is self.network:
            return {}
        return {"average": self.average.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the average of ``state``."""
        if self.average is not self.network:
            self.average.load_state_dict(state["average"])
            self.steps = int(state["steps"])

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        if self.average is not self.network:
            engine.add_event_handler(Events.EPOCH_STARTED, self.begin)
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self.follow)

    def begin(self, _: Engine) -> None:
        """Begin as what the network is when the training starts."""
        if not self.steps:
            self.average.load_state_dict(self.network.state_dict())

    def follow(self, _: Engine) -> None:
        """Bring the average up to date; whole numbers are copied."""
        self.steps += 1
        pairs = list(zip(_values(self.average), _values(self.network), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        ours, new = zip(*floats, strict=True)
        update = get_ema_multi_avg_fn(min(self.ema, self.steps / (self.steps + 10)))  # type: ignore[no-untyped-call]
        update(ours, new, self.steps)
        for mine, other in pairs:
            if not mine.is_floating_point():
                mine.copy_(other)


def _values(network: nn.Module) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]
