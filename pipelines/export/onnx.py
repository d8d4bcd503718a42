"""ONNX, written by torch's exporter and compared in ONNX Runtime."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...networks.graphs import GraphAxes
from ..core.errors import DelineateError
from ..core.logs import quiet_libraries

SUFFIX = ".onnx"


def write(network: nn.Module, channels: int, axes: GraphAxes, path: Path) -> None:
    """Write the graph: ``image`` (B, C, H, W) to ``pred``, logits.

    Raises:
        DelineateError: ONNX Runtime is not there to compare it.
    """
    _runtime()
    example = torch.rand(2, channels, *axes.drawn, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(), quiet_libraries(("torch",)), torch.no_grad():  # it logs that it has no torchvision
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter calls torch so
        program = torch.export.export(network, (example,), dynamic_shapes=(axes.dynamic,))
        model = torch.onnx.export(program, dynamo=True, verbose=False, input_names=["image"], output_names=["pred"])
    assert model is not None  # it is for dynamo=True
    path.write_bytes(model.model_proto.SerializeToString())


def logits(path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute with what was written."""
    session = _runtime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: image})
    return np.asarray(found)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DelineateError(
            "an exported network is compared in ONNX Runtime, which is not installed; "
            'pip install -c constraints.txt -e ".[onnx]"'
        ) from error
    return onnxruntime
