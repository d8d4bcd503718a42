"""The program that torch's exporter makes, which torch runs without the network's code; logits alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...networks.graphs import GraphAxes
from ..inference.backends import Compute
from ..inference.backends.graphs import program_of

SUFFIX = ".pt2"


def write(network: nn.Module, channels: int, axes: GraphAxes, path: Path) -> None:
    """As `Format.write`."""
    torch.export.save(program_of(network, channels, axes), path)


def open_graph(path: Path) -> tuple[Compute, str]:
    """As `Format.open_graph`."""
    network = torch.export.load(path).module()

    def compute(pixels: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        with torch.no_grad():
            return [network(torch.from_numpy(pixels)).numpy()]

    return compute, f"torch.export {torch.__version__} float32"
