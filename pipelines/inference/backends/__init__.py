"""What computes a network: torch, or another runtime, one module each, all called alike; windows stay outside of it.

A new one is a module that has what `Backend` has, a line in `MODULES` and a name in ``bundling.settings.BACKENDS``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...bundling.settings import BACKENDS
from ...bundling.weights import load_weights
from ...core.cores import use_own_cores
from ...core.errors import DelineateError, UnknownNameError, printable
from .graphs import drop_kept, graph_of, refuse_other_logits
from .runner import Runner

logger = logging.getLogger(__name__)
MODULES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
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
            precision: ``auto``, ``float32`` or ``bfloat16``.
            threads: how many it may use.

        Returns:
            what computes it, and what records call that: runtime, version and precision.

        Raises:
            DelineateError: its package is missing, or it can't compute here.
        """


def load_network(
    network: nn.Module,
    bundle_root: str | Path,
    device: str | torch.device = "cpu",
    backend: str = "torch",
    precision: str = "auto",
    in_channels: int = 3,
    window: Sequence[int] = (256, 256),
) -> nn.Module:
    """A bundle's network with its weights, as torch or another runtime computes it.

    Args:
        network: as the bundle defines it.
        bundle_root: the bundle's folder.
        device: where images are; another runtime than torch takes those on the CPU alone.
        backend: one of ``BACKENDS``.
        precision: ``auto``, ``float32`` or ``bfloat16``; other runtimes than torch take ``auto`` for float32.
        in_channels: of an image.
        window: rows and columns of what the network is given.

    Returns:
        what the bundle's inferer calls: image (B, C, H, W), float32, 0-1, to logits (B, out_channels, H, W).

    Raises:
        UnknownNameError: there is no such backend.
        DelineateError: as `load_weights`; or the backend's package is missing, it has no such device or precision, or
            its logits are not those of torch.
    """
    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    if backend != "torch" and torch.device(device).type != "cpu":
        raise DelineateError(
            f"{backend} computes on the CPU, and device is {str(device)!r}; set device=cpu, or take the backend torch"
        )
    loaded = load_weights(network, bundle_root, device)
    if backend == "torch":
        return loaded
    return _run_by(backend, loaded, Path(bundle_root), precision, (1, in_channels, *window))


def _run_by(backend: str, network: nn.Module, root: Path, precision: str, shape: tuple[int, ...]) -> Runner:
    module = cast("Backend", import_module(f".{MODULES[backend]}", __name__))
    use_own_cores()
    path = graph_of(network, root, shape, module.GRAPHS)
    try:
        compute, told = module.open_graph(path, precision, torch.get_num_threads())
        refuse_other_logits(compute, network, shape, path, told)
    except DelineateError:
        raise
    except Exception as error:  # each runtime has kinds of its own
        drop_kept(path)
        reason = printable(str(error).strip().partition("\n")[0][:300])
        raise DelineateError(
            f"{path} cannot be read by {backend} ({reason}); write it anew with 'delineate export', or take the "
            "backend torch"
        ) from error
    logger.info(f"network computed by {told}, from {path}")
    return Runner(compute, told, getattr(network, "familiarity", ()))
