"""Bundles: found, put together, verified, let in; their weights; ensembles."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "ensemble": ["refuse_training"],
        "weights": ["load_weights"],
    },
)
