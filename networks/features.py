"""The features of an image that a network computes anyway, seen without a second forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn

from .ensemble import Ensemble


def members_of(network: nn.Module) -> list[nn.Module]:
    """The networks of an ensemble; of any other network itself."""
    return list(network.members) if isinstance(network, Ensemble) else [network]


def telling_levels(network: nn.Module) -> list[nn.Module]:
    """The modules whose outputs (B, C, H, W) tell best what kind of image it is: the two levels above the deepest.

    The deepest knows little but what it was trained for: it tells other kinds of images less well from new images of
    the same kind. Known of the U-Nets here and of `EfficientNetLite`; else none.
    """
    encoder = getattr(network, "encoder", None)
    levels = getattr(encoder, "levels", encoder)
    return list(levels[-3:-1]) if isinstance(levels, nn.ModuleList) else []


@contextmanager
def pooling_features(network: nn.Module) -> Iterator[Callable[[], list[torch.Tensor]]]:
    """While the block runs, see what the encoder of a network computes in this thread.

    Args:
        network: one that has `telling_levels`, or an ensemble of such.

    Yields:
        a function that gives of each member, in their order, the mean of all features that were computed since, over
        pixels, windows and images: (D,), float32, the channels of one level after those of the other.
    """
    with _seeing(network) as found:
        yield lambda: [torch.cat([torch.cat(level).mean(0) for level in levels]) for levels in found]


class WithFeatures(nn.Module):
    """A network that gives its features beside its logits, as a graph of it does, which knows no hooks.

    Args:
        network: any; one without `telling_levels` gives its logits alone.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Image (B, C, H, W) to logits (B, out_channels, H, W), and the features (B, D) of each member."""
        with _seeing(self.network) as found:
            logits = self.network(x)
            return (logits, *(torch.cat([level[-1] for level in levels], 1) for levels in found if levels))


@contextmanager
def _seeing(network: nn.Module) -> Iterator[list[list[list[torch.Tensor]]]]:
    """While the block runs, note what this thread computes: by member, level and call, (B, D)."""
    here = get_ident()
    found: list[list[list[torch.Tensor]]] = []
    with ExitStack() as stack:
        for member in members_of(network):
            found.append([])
            for level in telling_levels(member):
                seen: list[torch.Tensor] = []
                found[-1].append(seen)

                def see(_: nn.Module, __: Any, output: torch.Tensor, seen: list[torch.Tensor] = seen) -> None:
                    if get_ident() == here:  # another thread may use the network meanwhile
                        seen.append(output.detach().mean((2, 3), dtype=torch.float32))

                stack.enter_context(level.register_forward_hook(see))  # type: ignore[arg-type]
        yield found
