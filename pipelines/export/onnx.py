"""ONNX, written by torch's exporter and compared in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ...networks.graphs import GraphAxes
from ..inference.backends import Compute, onnxruntime
from ..inference.backends.graphs import write_onnx

SUFFIX = ".onnx"


def write(network: nn.Module, channels: int, axes: GraphAxes, path: Path) -> None:
    """As `Format.write`.

    Raises:
        DelineateError: ONNX Runtime is not there to compare it.
    """
    onnxruntime.runtime()
    write_onnx(network, channels, axes, path)


def open_graph(path: Path) -> tuple[Compute, str]:
    """As `Format.open_graph`."""
    return onnxruntime.open_graph(path, "float32", torch.get_num_threads())
