"""OpenVINO, on the CPU, in float32 unless bfloat16 is asked for: by itself it would take bfloat16 without a word."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....installation import install
from ...core.child import Child, ChildError
from ...core.errors import DelineateError
from ...core.files import cache_folder
from ...core.sums import sha256
from . import Compute

GRAPHS = ("model.xml", "model.onnx")
_HINTS = {"auto": "f32", "float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # int8 is what the graph says
_SHAPES = 8  # graphs of one shape each that are kept; an open shape costs up to twice the time
_PROBE = Path(__file__).with_name("openvino_apart.py")


def open_graph(path: Path, precision: str, threads: int) -> tuple[Compute, str]:
    """As `Backend.open_graph`.

    Raises:
        DelineateError: the package is missing, it crashes on this CPU, or this has no bfloat16.
    """
    openvino, one = runtime(), core()
    hint = _HINTS[precision]
    if hint == "bf16" and "BF16" not in one.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise DelineateError("this CPU does not compute in bfloat16; leave precision=bfloat16 out")
    _refuse_crash(path, one)
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # two processes would be put on the same cores
    }
    told = "float32" if precision == "auto" else precision
    return _ByShape(one, path, settings), f"openvino {openvino.__version__.partition('-')[0]} {told}"


class _ByShape:
    """A graph compiled for each shape of images, one at a time: requests are not for two threads."""

    def __init__(self, core: Any, path: Path, settings: dict[str, Any]) -> None:
        self._core, self._path, self._settings = core, path, settings
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._one_at_a_time = Lock()

    def __call__(self, pixels: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        with self._one_at_a_time:
            request = self._request(pixels.shape)
            found = request.infer([pixels], share_inputs=True)
            return [np.array(found[place]) for place in range(len(found))]

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._requests:
            model = self._core.read_model(str(self._path))
            model.reshape(list(shape))
            compiled = self._core.compile_model(model, "CPU", self._settings)
            self._requests[shape] = compiled.create_infer_request()
            if len(self._requests) > _SHAPES:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shape)
        return self._requests[shape]


def _refuse_crash(path: Path, core: Any) -> None:
    """On other CPUs than Intel's, for which OpenVINO is not made, try it where a crash ends another process.

    That it works is kept for the user: of this graph, CPU and version it is tried once.
    """
    cpu = str(core.get_property("CPU", "FULL_DEVICE_NAME"))
    if "intel" in cpu.lower():
        return
    key = _key(path, cpu)
    if _is_known(key):
        return
    child = Child(_PROBE, patience=120.0, resident=True, tries=1)
    try:
        child.ask(str(path).encode())
    except ChildError as error:
        raise DelineateError(
            f"openvino does not work on this CPU, which its makers do not support ({error}); take the backend "
            "onnxruntime or torch"
        ) from error
    finally:
        child.stop()
    with suppress(OSError, DelineateError):  # it is tried again next time
        folder = cache_folder("openvino")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / key).touch()


def _is_known(key: str) -> bool:
    with suppress(OSError, DelineateError):
        return (cache_folder("openvino") / key).is_file()
    return False


def _key(path: Path, cpu: str) -> str:
    """Names a graph's files, the CPU and OpenVINO's version."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    told = [*map(sha256, files), cpu, runtime().__version__]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@cache
def core() -> Any:
    """OpenVINO's one object for all graphs, which is kept as long as the process lives.

    Its part for the CPU brings a stack for signals along, and takes it away with the last such object. Where that ends
    in another thread, the next signal that Python handles (Ctrl-C, SIGTERM, the end of a child) is a crash.

    Raises:
        DelineateError: the package is not installed.
    """
    return runtime().Core()


def runtime() -> Any:
    """The package.

    Raises:
        DelineateError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise DelineateError(f"openvino is not installed; {install('openvino')}") from error
    return openvino
