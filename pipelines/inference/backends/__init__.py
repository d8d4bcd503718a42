"""What computes a network: torch, or another runtime, one module each, all called alike; windows stay outside of it.

A new one is a module that has what `Backend` has, a line in `MODULES` and a name in ``bundling.settings.BACKENDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...bundling.exports import int8_export
from ...bundling.familiarity import familiarity_of, read_familiarity
from ...bundling.settings import BACKENDS, INT8_GRAPHS
from ...core.cores import use_own_cores
from ...core.errors import DelineateError, printable
from .graphs import drop_kept, graph_of, made_image, refuse_other_logits
from .runner import Runner

MODULES = {name: name.removesuffix("-int8") for name in BACKENDS if name not in ("auto", "torch")}
"""Names to the modules here; torch needs none."""


class Backend(Protocol):
    """What a module here has."""

    GRAPHS: tuple[str, ...]
    """Names in a bundle's ``models/`` of the graphs that it reads, the first before the others."""

    def open_graph(
        self, path: Path, precision: str, threads: int
    ) -> tuple[Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]], str]:
        """Make a graph ready.

        Args:
            path: of the graph: image (B, C, H, W), float32, 0-1, to logits, and features (B, D) of each member.
                precision: ``auto``, ``float32``, ``bfloat16`` or, of such a graph, ``int8``.
            threads: how many it may use.

        Returns:
            what computes it, and what records call that: runtime, version and precision.

        Raises:
            DelineateError: its package is missing, or it can't compute here.
        """


def run_by(backend: str, network: nn.Module, root: Path, precision: str, shape: tuple[int, ...]) -> Runner:
    """A network, computed by another runtime.

    Args:
        backend: one of `MODULES`.
        network: torch's, with its weights, on the CPU.
        root: the bundle's folder.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        shape: (1, C, H, W) of its images.

    Raises:
        DelineateError: the backend's package is missing, it has no such precision, its graph cannot be written or
            read, or its logits are not those of torch.
    """
    module = cast("Backend", import_module(f".{MODULES[backend]}", __name__))
    use_own_cores()
    int8 = backend in INT8_GRAPHS
    path = _int8_graph(root, backend) if int8 else graph_of(network, root, shape, module.GRAPHS)
    try:
        compute, told = module.open_graph(path, "int8" if int8 else precision, torch.get_num_threads())
        if int8:  # was judged on real images
            compute(made_image(shape).numpy())
        else:
            refuse_other_logits(compute, network, made_image(shape), path, told)
    except DelineateError:
        raise
    except Exception as error:  # each runtime has kinds of its own
        drop_kept(path)
        reason = printable(str(error).strip().partition("\n")[0][:300])
        raise DelineateError(
            f"{path} cannot be read by {backend} ({reason}); write it anew with 'delineate export', or take the "
            "backend torch"
        ) from error
    familiar: Sequence[Any] = getattr(network, "familiarity", ())
    if int8 and familiar:  # its features are others
        familiar = read_familiarity(path.parent, len(familiar), familiarity_of(path.name)) or familiar
    return Runner(compute, told, familiar, shape[2:])


def _int8_graph(root: Path, backend: str) -> Path:
    name = INT8_GRAPHS[backend]
    if int8_export(root / "models", name) is None:
        format_ = "onnx" if name.endswith(".onnx") else "openvino"
        raise DelineateError(
            f"{printable(root)} has no int8 graph of its weights ({name}); 'delineate export RUN --format {format_} "
            "--int8 --data DATASET' makes one, where its masks are good enough"
        )
    return root / "models" / name
