"""The Segmenter of this installation: torch's or, where torch is not installed, that of exported graphs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

HAS_TORCH = find_spec("torch") is not None

if TYPE_CHECKING or HAS_TORCH:
    from .segmenter import Segmenter as Segmenter
else:
    from .runtime.segmenter import GraphSegmenter as Segmenter  # noqa: F401
