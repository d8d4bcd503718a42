"""OpenVINO's own format, made of ONNX: ``model.xml``, with the weights in ``model.bin`` beside it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ...networks.graphs import GraphAxes
from ..inference.backends import Compute, openvino
from ..inference.backends.graphs import write_onnx

SUFFIX = ".xml"


def write(network: nn.Module, channels: int, axes: GraphAxes, path: Path) -> None:
    """As `Format.write`, in float32: by itself it would write half of the bits of each weight.

    Raises:
        DelineateError: OpenVINO is not installed.
    """
    runtime, graph = openvino.runtime(), path.with_suffix(".onnx")
    write_onnx(network, channels, axes, graph)
    runtime.save_model(openvino.core().read_model(str(graph)), str(path), compress_to_fp16=False)
    graph.unlink()


def open_graph(path: Path) -> tuple[Compute, str]:
    """As `Format.open_graph`."""
    return openvino.open_graph(path, "float32", torch.get_num_threads())
