"""Outlines of lesions, organs and nerves in 2D medical images, as MONAI bundles without code."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .networks import create_network as create_network
    from .pipelines.errors import DelineateError as DelineateError
    from .pipelines.errors import InputError as InputError
    from .pipelines.outputs import Segmentation as Segmentation
    from .pipelines.segmenter import Segmenter as Segmenter
    from .pipelines.workflows import evaluate as evaluate
    from .pipelines.workflows import train as train

    __version__: str

_HOMES = {
    "DelineateError": ".pipelines.errors",
    "InputError": ".pipelines.errors",
    "Segmentation": ".pipelines.outputs",
    "Segmenter": ".pipelines.segmenter",
    "create_network": ".networks",
    "evaluate": ".pipelines.workflows",
    "train": ".pipelines.workflows",
}
__all__ = [
    "DelineateError",
    "InputError",
    "Segmentation",
    "Segmenter",
    "__version__",
    "create_network",
    "evaluate",
    "train",
]

if not TYPE_CHECKING:  # else a type checker would take any name

    def __getattr__(name: str) -> Any:
        """Import late: ``import delineate`` takes no torch."""
        if name == "__version__":
            from importlib.metadata import version

            return version("delineate")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
