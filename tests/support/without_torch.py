"""``delineate`` in a process that has nothing but what the runtime without torch is installed with."""

from __future__ import annotations

import sys
from pathlib import Path

from processes import Done, call

MISSING = (
    *("torch", "monai", "ignite", "skimage", "scipy", "matplotlib", "jinja2", "tensorboard", "onnx", "onnxscript"),
    *("psutil", "SimpleITK", "gdcm", "highdicom", "dicomweb_client", "pynetdicom", "requests", "openvino", "nncf"),
)
PROGRAM = f"""
import sys
sys.modules.update(dict.fromkeys({MISSING!r}))  # to import one of them is a ModuleNotFoundError
from delineate.pipelines.cli import main
sys.argv[0] = "delineate"
main()
"""


def without_torch(*words: str | Path, cwd: Path) -> Done:
    """Run ``delineate`` where none of ``MISSING`` can be imported."""
    return call(sys.executable, "-W", "error", "-c", PROGRAM, *words, cwd=cwd)
