"""TorchScript, for what still needs it (its makers call it deprecated); logits alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...networks.graphs import GraphAxes
from ..core.errors import DelineateError, printable
from ..inference.backends import Compute

SUFFIX = ".ts"


def write(network: nn.Module, channels: int, axes: GraphAxes, path: Path) -> None:
    """As `Format.write`.

    Raises:
        DelineateError: TorchScript cannot say what the network does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            torch.jit.script(network).save(str(path))  # type: ignore[no-untyped-call]
        except Exception as error:  # of many kinds
            reason = printable(str(error).strip().partition("\n")[0][:200])
            raise DelineateError(
                f"TorchScript cannot say what this network does ({reason}); take --format onnx, openvino or pt2"
            ) from error


def open_graph(path: Path) -> tuple[Compute, str]:
    """As `Format.open_graph`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.jit.load(str(path))  # type: ignore[no-untyped-call]

    def compute(pixels: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        with torch.no_grad():
            return [network(torch.from_numpy(pixels)).numpy()]

    return compute, f"torch.jit {torch.__version__} float32"
