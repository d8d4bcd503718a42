"""The fastest backend of a bundle, measured anew."""

from __future__ import annotations

from typing import Any

from ..bundling.gate import Bundle
from .fastest import Measured, fastest_backend
from .segmenter import Segmenter


def tune_bundle(bundle: Bundle, *, trust: bool = False, **settings: Any) -> Measured:
    """Measure which backend computes a bundle's network the fastest on this CPU, and keep that for ``auto``.

    Args:
        bundle: folder of a bundle or run, or the name of a shipped bundle.
        trust: use the bundle although verification has findings.
        settings: of the bundle, e.g. ``precision="float32"``, of which ``auto`` then knows.

    Raises:
        UnverifiedError: it is no part of the package, and verification has findings.
        DelineateError: it has no weights, or a setting cannot be what it is.
    """
    segmenter = Segmenter(bundle, trust=trust, backend="torch", **{**settings, "device": "cpu"})
    shape = (1, segmenter.in_channels, *segmenter.window)
    precision = getattr(segmenter.inferer, "precision", "auto")
    return fastest_backend(segmenter.network, segmenter.bundle, shape, precision, anew=True)
