"""What computes a network: torch, or another runtime, one module each, all called alike; windows stay outside of it.

A new one is a module that has what `Backend` has, a line in `MODULES` and a name in ``bundling.settings.BACKENDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ...bundling.exports import int8_export
from ...bundling.familiarity import Familiarity, familiarity_of, read_familiarity
from ...bundling.settings import BACKENDS, INT8_GRAPHS
from ...core.errors import DelineateError, printable

Compute = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]
"""Image (B, C, H, W), float32, 0-1, to logits and, of a graph that has them, the features (B, D) of each member."""
MODULES = {name: name.removesuffix("-int8") for name in BACKENDS if name not in ("auto", "torch")}
"""Names to the modules here; torch needs none."""


class Backend(Protocol):
    """What a module here has."""

    GRAPHS: tuple[str, ...]
    """Names in a bundle's ``models/`` of the graphs that it reads, the first before the others."""

    def runtime(self) -> Any:
        """The package.

        Raises:
            DelineateError: it is not installed.
        """

    def open_graph(self, path: Path, precision: str, threads: int) -> tuple[Compute, str]:
        """Make a graph ready.

        Args:
            path: of the graph.
            precision: ``auto``, ``float32``, ``bfloat16`` or, of such a graph, ``int8``.
            threads: how many it may use.

        Returns:
            what computes it, and what records call that: runtime, version and precision.

        Raises:
            DelineateError: its package is missing, or it can't compute here.
        """


def backend_of(name: str) -> Backend:
    """The module of one of `MODULES`."""
    return cast("Backend", import_module(f".{MODULES[name]}", __name__))


def refuse_missing(name: str) -> None:
    """See that the package of one of `MODULES` is installed, before anything is made for it.

    Raises:
        DelineateError: it is not.
    """
    try:
        backend_of(name).runtime()
    except DelineateError as error:
        raise DelineateError(f"{error}, or take the backend torch") from error


def unreadable(path: Path, backend: str, error: Exception) -> DelineateError:
    """The refusal of a graph that a runtime fails on; each has errors of its own kinds."""
    reason = printable(str(error).strip().partition("\n")[0][:300])
    return DelineateError(
        f"{path} cannot be read by {backend} ({reason}); write it anew with 'delineate export', or take the "
        "backend torch"
    )


def int8_graph(root: Path, backend: str) -> Path:
    """The graph of an int8 backend in a bundle.

    Raises:
        DelineateError: there is none, or it is of other weights.
    """
    name = INT8_GRAPHS[backend]
    if int8_export(root / "models", name) is None:
        format_ = "onnx" if name.endswith(".onnx") else "openvino"
        raise DelineateError(
            f"{printable(root)} has no int8 graph of its weights ({name}); 'delineate export RUN --format {format_} "
            "--int8 --data DATASET' makes one, where its masks are good enough"
        )
    return root / "models" / name


def familiar_to(path: Path, known: Sequence[Familiarity]) -> Sequence[Familiarity]:
    """What is familiar to an int8 graph, whose features are others.

    Args:
        path: of the graph.
        known: of the bundle's network, which is taken where the graph has none of its own.
    """
    return (read_familiarity(path.parent, len(known), familiarity_of(path.name)) if known else ()) or known
