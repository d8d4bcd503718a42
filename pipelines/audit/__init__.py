"""Data sets looked at before anybody trains on them: duplicates, contradictions, leaks, odd masks and images."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(__name__, submod_attrs={"before_training": ["refuse_leaks"]})
