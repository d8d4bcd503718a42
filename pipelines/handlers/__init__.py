"""Handlers of the engines that bundles define."""

from .checkpoint import CheckpointSaver, EarlyStop
from .finite import StopWhenNotFinite
from .history import EpochSeed, HistoryLogger
from .record import RunRecord
from .scores import MaskWriter, ScoreWriter, end_with_refused

__all__ = [
    "CheckpointSaver",
    "EarlyStop",
    "EpochSeed",
    "HistoryLogger",
    "MaskWriter",
    "RunRecord",
    "ScoreWriter",
    "StopWhenNotFinite",
    "end_with_refused",
]
