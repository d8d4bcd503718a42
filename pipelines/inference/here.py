"""The Segmenter of this installation: torch's or, where torch is not installed, that of exported graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...installation import has_torch

HAS_TORCH = has_torch()

if TYPE_CHECKING or HAS_TORCH:
    from .segmenter import Segmenter as Segmenter
else:
    from .runtime.segmenter import GraphSegmenter as Segmenter  # noqa: F401
