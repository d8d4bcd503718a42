"""What runs: data, transforms, inferers, metrics, reports, the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .outputs import Segmentation
    from .segmenter import Segmenter

__all__ = ["Segmentation", "Segmenter"]


def __getattr__(name: str) -> Any:
    """Import late: the command line answers ``--help`` without torch."""
    if name == "Segmenter":
        from .segmenter import Segmenter

        return Segmenter
    if name == "Segmentation":
        from .outputs import Segmentation

        return Segmentation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
