"""Data sets looked at before anybody trains on them: duplicates, contradictions, leaks, odd masks and images."""

from .accept import accept, read_accepted
from .dataset import Audit, audit_dataset
from .findings import Finding
from .pairs import quick_leaks

__all__ = ["Audit", "Finding", "accept", "audit_dataset", "quick_leaks", "read_accepted"]
