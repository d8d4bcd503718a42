"""Backends that are installed here, and a place for the graphs that they need, written once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from delineate.pipelines.bundling.bundles import copy_with_weights
from delineate.pipelines.bundling.exports import name_export
from delineate.pipelines.bundling.settings import BACKENDS, INT8_GRAPHS
from delineate.pipelines.core.sums import replacing_listed
from delineate.pipelines.inference.backends.graphs import graph_of
from delineate.pipelines.inference.segmenter import Segmenter

OTHERS = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in BACKENDS
    if name not in ("auto", "torch") and name not in INT8_GRAPHS
]
"""All but torch, each with a reason to skip it."""


@pytest.fixture(scope="session")
def onnx_operators() -> None:
    """All that torch's exporter knows is read once; it reads it anew in every export: half of a small one."""
    with suppress(ImportError, AttributeError):  # another torch may do otherwise
        from torch._export import utils
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign,assignment]
        utils._materialize_cpp_cia_ops = cache(utils._materialize_cpp_cia_ops)


@pytest.fixture(scope="session")
def graph_cache(onnx_operators: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A user's cache of this session's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def with_graph(bundle: Path, folder: Path) -> Path:
    """A copy of a bundle that holds the graph which the user's cache has, or gets, of it, as an export does."""
    segmenter = Segmenter(bundle, device="cpu", backend="torch")
    shape = (1, segmenter.in_channels, *segmenter.window)
    graph = graph_of(segmenter.network, segmenter.bundle, shape, ["model.onnx"])
    copy_with_weights(segmenter.bundle, folder)
    with replacing_listed(folder / "models" / "model.onnx") as temporary:
        shutil.copyfile(graph, temporary)
    name_export(folder / "models", "model.onnx", {"format": "onnx", "precision": "float32"})
    return folder
