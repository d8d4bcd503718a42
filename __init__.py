"""Outlines of lesions, organs and nerves in 2D medical images, as MONAI bundles without code."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import DelineateError as DelineateError
    from .networks import create_network as create_network
    from .pipelines.comparison.cross_validation import cross_validate as cross_validate
    from .pipelines.comparison.networks import compare_networks as compare_networks
    from .pipelines.comparison.paired import compare as compare
    from .pipelines.core.errors import InputError as InputError
    from .pipelines.evaluation.workflow import evaluate as evaluate
    from .pipelines.inference.here import Segmenter as Segmenter
    from .pipelines.inference.outputs import Segmentation as Segmentation
    from .pipelines.training.workflow import train as train

    __version__: str

_HOMES = {
    "DelineateError": ".errors",
    "InputError": ".pipelines.core.errors",
    "Segmentation": ".pipelines.inference.outputs",
    "Segmenter": ".pipelines.inference.here",
    "compare": ".pipelines.comparison.paired",
    "compare_networks": ".pipelines.comparison.networks",
    "create_network": ".networks",
    "cross_validate": ".pipelines.comparison.cross_validation",
    "evaluate": ".pipelines.evaluation.workflow",
    "train": ".pipelines.training.workflow",
}
__all__ = [
    "DelineateError",
    "InputError",
    "Segmentation",
    "Segmenter",
    "__version__",
    "compare",
    "compare_networks",
    "create_network",
    "cross_validate",
    "evaluate",
    "train",
]

if not TYPE_CHECKING:  # else a type checker would take any name

    def __getattr__(name: str) -> Any:
        """Import late: ``import delineate`` takes no torch."""
        if name == "__version__":
            from .pipelines.core.versions import own_version

            return own_version()
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
