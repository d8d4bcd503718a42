"""``delineate`` in a process that has nothing but what the runtime without torch is installed with."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from processes import Done, call

MISSING = (
    *("torch", "monai", "ignite", "skimage", "scipy", "matplotlib", "jinja2", "tensorboard", "onnx", "onnxscript"),
    *("psutil", "SimpleITK", "gdcm", "highdicom", "dicomweb_client", "pynetdicom", "requests", "openvino", "nncf"),
)
PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(MISSING))  # to import one of them is a ModuleNotFoundError
from delineate.pipelines.cli import main
sys.argv[0] = "delineate"
main()
"""


def without_torch(*words: str | Path, cwd: Path, besides: Collection[str] = ()) -> Done:
    """Run ``delineate`` where none of ``MISSING`` can be imported, but for what is installed ``besides``."""
    missing = [name for name in MISSING if name not in besides]
    return call(sys.executable, "-W", "error", "-c", f"MISSING = {missing!r}\n{PROGRAM}", *words, cwd=cwd)
