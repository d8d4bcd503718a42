"""A bundle's network, ready for its inferer: what bundles name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ..bundling.settings import BACKENDS
from ..bundling.weights import load_weights
from ..core.errors import DelineateError, UnknownNameError
from .backends import MODULES, refuse_missing
from .backends.runner import run_by
from .fastest import fastest_backend

logger = logging.getLogger(__name__)


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
        backend: one of ``BACKENDS``; ``auto`` measures which is the fastest here, once.
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
    on_cpu = torch.device(device).type == "cpu"
    if backend not in ("auto", "torch") and not on_cpu:
        raise DelineateError(
            f"{backend} computes on the CPU, and device is {str(device)!r}; set device=cpu, or take the backend torch"
        )
    if backend in MODULES:
        refuse_missing(backend)
    loaded = load_weights(network, bundle_root, device)
    shape = (1, in_channels, *window)
    if backend == "auto" and on_cpu:
        found = fastest_backend(loaded, Path(bundle_root), shape, precision)
        backend = found.backend
        logger.info(f"backend {backend}: {found.reason} (kept in {found.path}; 'delineate tune' measures anew)")
    elif backend == "auto":
        backend = "torch"
        logger.info(f"backend torch: the others compute on the CPU, and device is {device}")
    if backend == "torch":
        return loaded
    runner = run_by(backend, loaded, Path(bundle_root), precision, shape)
    logger.info(f"network computed by {runner.computed_by}")
    return runner
