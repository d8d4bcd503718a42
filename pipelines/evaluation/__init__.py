"""Scores: metrics, their intervals, a page."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "metrics.pixel_accuracy": ["PixelAccuracy"],
        "per_structure": ["PerStructure"],
        "scores": ["ScoreWriter"],
    },
)
