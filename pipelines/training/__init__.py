"""Runs: begun, trained, resumed, recorded."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "checkpoint": ["CheckpointSaver", "EarlyStop"],
        "familiarity": ["FamiliarityWriter"],
        "finite": ["StopWhenNotFinite"],
        "history": ["EpochSeed", "HistoryLogger"],
        "losses": ["StructureLoss"],
        "mean_teacher": ["MeanTeacher", "copy_network"],
        "mlflow": ["MlflowLogger"],
        "pretrained": ["one_cycle", "parameter_groups", "with_pretrained"],
        "record": ["RunRecord"],
        "report": ["RunReport"],
    },
)
