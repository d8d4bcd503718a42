"""A graph in int8: static, per channel, with weights of 7 bits, calibrated on images of the training.

With weights of 8 bits the sums of two products overflow 16 bits on CPUs that have AVX2 alone, so that one file gives
other masks there than on a CPU with VNNI.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...installation import install
from ..core.errors import DelineateError
from ..core.logs import quiet_libraries
from ..inference.backends import onnxruntime, openvino

Images = Sequence[NDArray[np.float32]]


def quantize_onnx(graph: Path, images: Images, path: Path) -> None:
    """Write an ONNX graph in int8, with QDQ nodes.

    Args:
        graph: in float32.
        images: (1, C, H, W), 0-1, as the network gets them.
        path: where to.

    Raises:
        DelineateError: ONNX Runtime is not installed.
    """
    onnxruntime.runtime()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader:
        """As onnxruntime asks for images."""

        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._left, None)
            return None if image is None else {"image": image}

    prepared = path.with_name("prepared.onnx")
    with quiet_libraries(("",)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)  # it fails on open heights and widths
        quantize_static(
            str(prepared),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"CalibMovingAverage": True},
        )
    prepared.unlink()


def quantize_openvino(graph: Path, images: Images, path: Path) -> None:
    """As `quantize_onnx`, in OpenVINO's format, by NNCF.

    Raises:
        DelineateError: OpenVINO or NNCF is not installed.
    """
    runtime, nncf = openvino.runtime(), nncf_package()
    with quiet_libraries(("nncf",)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
        model = openvino.core().read_model(str(graph))
        found = nncf.quantize(model, nncf.Dataset(list(images)), subset_size=len(images), advanced_parameters=advanced)
    runtime.save_model(found, str(path), compress_to_fp16=False)


def nncf_package() -> Any:
    """What quantizes for OpenVINO.

    Raises:
        DelineateError: it is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")  # it tells its makers nothing then
    try:
        import nncf
    except ImportError as error:
        raise DelineateError(f"nncf is not installed; {install('int8')}, or take --format onnx") from error
    return nncf
