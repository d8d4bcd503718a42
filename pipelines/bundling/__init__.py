"""Bundles: found, put together, verified, let in; their weights."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "weights": ["load_weights"],
    },
)
