"""Several networks as one: the mean of their probabilities."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import torch
from torch import nn

from ..errors import WrongValueError
from .sizes import check_size, next_size

_LARGEST = 1 << 20  # pixels a side up to which a size that all members take is looked for


class Ensemble(nn.Module):
    """The mean of the probabilities of several networks, of any architectures, on the same image.

    What comes out are logits: their sigmoid, or where structures are exclusive their softmax, is that mean. So an
    ensemble stands wherever a network does. It is computed in float32 from logarithms, so nothing is lost where
    networks are sure. Its state dict holds each member's under ``members.0.``, ``members.1.`` and so on.

    Based on: Lakshminarayanan B, Pritzel A, Blundell C. Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles. NIPS 2017, https://doi.org/10.48550/arXiv.1612.01474

    Args:
        members: networks of the same channels in and out; each takes ``(B, C, H, W)`` and gives logits.
        exclusive: whether the channels are exclusive, so that their probabilities are a softmax.

    Attributes:
        smallest_size: pixels a side of the smallest image that all members take.
        divisor: a side has ``smallest_size`` pixels plus a multiple of this.

    Raises:
        WrongValueError: when there is no member, or no image size that all members take.

    Example:
        >>> Ensemble([nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 3, padding=1)])(torch.zeros(1, 3, 32, 48)).shape
        torch.Size([1, 1, 32, 48])
    """

    def __init__(self, members: Sequence[nn.Module], exclusive: bool = False) -> None:
        super().__init__()
        if not members:
            raise WrongValueError("members has no network, an ensemble needs one or more; name them")
        self.members = nn.ModuleList(members)
        self.exclusive = exclusive
        self.dynamic_export = all(getattr(member, "dynamic_export", True) for member in members)
        self.names = [f"member {place} ({type(member).__name__})" for place, member in enumerate(members, start=1)]
        self.sizes = [(int(getattr(one, "smallest_size", 1)), int(getattr(one, "divisor", 1))) for one in members]
        self.smallest_size, self.divisor = _common_size(self.sizes, self.names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raw logits.

        Args:
            x: image of shape ``(B, C, H, W)``.

        Returns:
            logits of shape ``(B, out_channels, H, W)``, float32.

        Raises:
            WrongValueError: when a member can't take this H and W, or gives other channels than the first.
        """
        for place, (smallest, divisor) in enumerate(self.sizes):
            check_size(x, smallest, divisor, self.names[place])
        found: list[torch.Tensor] = []
        for member in self.members:
            found.append(member(x))
        for place, logits in enumerate(found):
            if logits.shape[1] != found[0].shape[1]:
                raise WrongValueError(
                    f"{self.names[place]} gives {logits.shape[1]} channels, {self.names[0]} {found[0].shape[1]}; "
                    "put networks of the same out_channels together"
                )
        return mean_of_probabilities(found, self.exclusive)


def mean_of_probabilities(logits: list[torch.Tensor], exclusive: bool = False) -> torch.Tensor:
    """The logits of the mean of several probabilities; those given, where there is one.

    Pairs are added, then pairs of pairs: of four, the first two and the last two may change places with each other, and
    the two in each, and no bit of the result changes.

    Args:
        logits: one tensor or more ``(B, C, H, W)``.
        exclusive: whether probabilities are a softmax over the channels; else each is a sigmoid.

    Returns:
        float32 ``(B, C, H, W)``; of exclusive channels the logarithms of the mean.
    """
    exact = [each.float() for each in logits]
    if len(exact) == 1:
        return exact[0]
    if exclusive:
        return _log_sum([torch.log_softmax(each, 1) for each in exact]) - math.log(len(exact))
    return _log_sum([_log_sigmoid(each) for each in exact]) - _log_sum([_log_sigmoid(-each) for each in exact])


# torch's own logsigmoid and logaddexp go into ONNX as log(sigmoid(x)) and log(exp(a) + exp(b)), which run over
def _log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(max=0.0) - torch.log1p(torch.exp(-x.abs()))


def _log_sum(logarithms: list[torch.Tensor]) -> torch.Tensor:
    """The logarithm of the sum of what ``logarithms`` are of."""
    while len(logarithms) > 1:
        pairs: list[torch.Tensor] = []
        for place in range(0, len(logarithms) - 1, 2):
            one, other = logarithms[place], logarithms[place + 1]
            pairs.append(torch.maximum(one, other) + torch.log1p(torch.exp(-(one - other).abs())))
        if len(logarithms) % 2 == 1:
            pairs.append(logarithms[-1])
        logarithms = pairs
    return logarithms[0]


def _common_size(sizes: Sequence[tuple[int, int]], names: Sequence[str]) -> tuple[int, int]:
    """The smallest side that all members take, and the step to the next."""
    smallest, divisor = sizes[0]
    for (least, step), name in zip(sizes[1:], names[1:], strict=True):
        (wide_least, wide), (fine_least, fine) = sorted([(smallest, divisor), (least, step)], key=lambda size: -size[1])
        first = next_size(max(smallest, least), wide_least, wide)
        shared = next((side for side in range(first, _LARGEST, wide) if (side - fine_least) % fine == 0), None)
        if shared is None:
            raise WrongValueError(
                f"{name} takes {_shown(least, step)} pixels a side, those before it {_shown(smallest, divisor)}: there "
                "is no size that all take; leave it out"
            )
        smallest, divisor = shared, min(math.lcm(divisor, step), sys.maxsize)
    return smallest, divisor


def _shown(smallest: int, divisor: int) -> str:
    return f"{smallest} and no other" if divisor == sys.maxsize else f"{smallest} plus a multiple of {divisor}"
