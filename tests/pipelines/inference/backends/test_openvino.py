"""OpenVINO where its makers do not support the CPU: tried in another process, which may crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.inference.backends import openvino


class Core:
    def __init__(self, cpu: str) -> None:
        self.cpu = cpu

    def get_property(self, *_: str) -> str:
        return self.cpu


def program(folder: Path, line: str) -> Path:
    path = folder / "probe.py"
    path.write_text(f"import os\nimport signal\n\n\ndef answer(request):\n    {line}\n")
    return path


CRASH = "os.kill(os.getpid(), signal.SIGFPE)"
AMD = Core("AMD EPYC 9454")


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a user's cache of its own."""
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "model.onnx").write_bytes(b"a graph")
    return tmp_path / "model.onnx"


def test_a_crash_is_a_refusal_in_one_line(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "_PROBE", program(graph.parent, CRASH))
    for _ in range(2):
        with pytest.raises(
            DelineateError, match=r"does not work on this CPU.*crashed \(SIGFPE\).*onnxruntime or torch"
        ):
            openvino._refuse_crash(graph, AMD)


def test_where_it_works_it_is_used_and_that_graph_is_not_tried_again(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "_PROBE", program(graph.parent, "return request"))
    openvino._refuse_crash(graph, AMD)
    monkeypatch.setattr(openvino, "_PROBE", program(graph.parent, CRASH))
    openvino._refuse_crash(graph, AMD)


@pytest.mark.parametrize("other", ["graph", "cpu", "version"])
def test_another_graph_cpu_or_version_is_tried(graph: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setattr(openvino, "_PROBE", program(graph.parent, "return request"))
    openvino._refuse_crash(graph, AMD)
    monkeypatch.setattr(openvino, "_PROBE", program(graph.parent, CRASH))
    if other == "graph":
        graph.write_bytes(b"another graph")
    if other == "version":
        monkeypatch.setattr(openvino.runtime(), "__version__", "2099.1")
    with pytest.raises(DelineateError, match="does not work on this CPU"):
        openvino._refuse_crash(graph, Core("AMD Ryzen 9") if other == "cpu" else AMD)


@pytest.mark.parametrize("missing", ["folder", "home"])
def test_without_a_place_to_keep_it_it_is_used(graph: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    (graph.parent / "cache").write_text("no folder")
    if missing == "home":  # as of a service
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", MagicMock(side_effect=RuntimeError("Could not determine home directory.")))
    monkeypatch.setattr(openvino, "_PROBE", program(graph.parent, "return request"))
    openvino._refuse_crash(graph, AMD)


def test_on_intels_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "_PROBE", program(tmp_path, CRASH))
    openvino._refuse_crash(tmp_path / "model.onnx", Core("Intel(R) Xeon(R) Processor"))


def test_a_signal_after_the_last_graph_ended_in_another_thread_is_handled(tmp_path: Path) -> None:
    """OpenVINO's stack for signals would be gone, and the process with it."""
    pytest.importorskip("openvino")
    code = """
import os, signal, threading
from delineate.pipelines.inference.backends import openvino
graphs = [openvino.core()]
graphs[0].get_property("CPU", "FULL_DEVICE_NAME")
ending = threading.Thread(target=graphs.clear)
ending.start()
ending.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
