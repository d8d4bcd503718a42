"""ONNX Runtime, on the CPU, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....installation import install
from ...core.errors import DelineateError
from . import Compute

GRAPHS = ("model.onnx",)
_ERRORS_ONLY = 3


def open_graph(path: Path, precision: str, threads: int) -> tuple[Compute, str]:
    """As `Backend.open_graph`.

    Raises:
        DelineateError: the package is missing, or bfloat16 is wanted.
    """
    package = runtime()
    if precision == "bfloat16":
        raise DelineateError("onnxruntime computes in float32; leave precision=bfloat16 out, or take another backend")
    options = package.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may need the cores
    options.log_severity_level = _ERRORS_ONLY
    session = package.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()

    def compute(pixels: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = session.run(None, {image.name: pixels})
        return found

    return compute, f"onnxruntime {package.__version__} {'int8' if precision == 'int8' else 'float32'}"


def runtime() -> Any:
    """The package.

    Raises:
        DelineateError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DelineateError(f"onnxruntime is not installed; {install('onnx')}") from error
    return onnxruntime
