"""What each network is and costs, without computing with it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .registry import create_network, describe_network
from .sizes import next_size


@dataclass(frozen=True)
class NetworkFacts:
    """One row of ``delineate networks``: of a network with 3 channels in and 1 out.

    Attributes:
        name: as :func:`~delineate.networks.create_network` takes it.
        description: one line.
        parameters: how many numbers are trained.
        macs: multiply-accumulates of one image (half of what is called FLOPs), of convolutions and matrix products.
        side: pixels a side of that image: 256, or the next size that the network takes.
        smallest_size: pixels a side of the smallest image that it takes.
        divisor: a side has ``smallest_size`` pixels plus a multiple of this; 1: any size; ``None``: no other size.
        reference: where it was published.
    """

    name: str
    description: str
    parameters: int
    macs: int
    side: int
    smallest_size: int
    divisor: int | None
    reference: str


@cache
def network_facts(name: str) -> NetworkFacts:
    """The facts of the network called ``name``.

    Raises:
        UnknownNameError: when there is no such network; the closest name is given.
    """
    with torch.device("meta"):
        network: Any = create_network(name, in_channels=3, out_channels=1).eval()
    smallest, divisor = network.smallest_size, network.divisor
    side = next_size(256, smallest, divisor)
    return NetworkFacts(
        name=name,
        description=describe_network(name),
        parameters=sum(p.numel() for p in network.parameters()),
        macs=count_macs(network, side),
        side=side,
        smallest_size=smallest,
        divisor=None if divisor == sys.maxsize else divisor,
        reference=network.reference,
    )


def count_macs(network: nn.Module, side: int, in_channels: int = 3) -> int:
    """Multiply-accumulates of one image ``(1, in_channels, side, side)``, of convolutions and matrix products.

    Nothing is computed where ``network`` is on the device ``meta``.
    """
    image = torch.zeros(1, in_channels, side, side, device=next(network.parameters()).device)
    with torch.no_grad(), _FlopCounter() as counter:
        network(image)
    return int(counter.flops) // 2


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts by torch's formulas; torch's own counter takes norms and interpolations apart, too: most of its time.

    So does torch on the device ``meta``: there a norm is passed over, whose output has the size of its input.
    """

    flops: int = 0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.native_batch_norm.default and args[0].is_meta:
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            self.flops += int(count(*args, **(kwargs or {}), out_val=out))
        return out
