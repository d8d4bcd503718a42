"""Runs: begun, trained, resumed, recorded."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "average": ["WeightAverage", "copy_network", "kept_network"],
        "boundary": ["DiceCEBoundaryLoss"],
        "checkpoint": ["CheckpointSaver", "EarlyStop"],
        "distributed": [
            "SharedStatistics",
            "distributed_network",
            "join_processes",
            "leave_processes",
            "own_batch_size",
        ],
        "familiarity": ["FamiliarityWriter"],
        "finite": ["StopWhenNotFinite"],
        "history": ["EpochSeed", "HistoryLogger"],
        "losses": ["StructureLoss"],
        "mean_teacher": ["MeanTeacher"],
        "mlflow": ["MlflowLogger"],
        "pretrained": ["one_cycle", "parameter_groups", "with_pretrained"],
        "record": ["RunRecord"],
        "report": ["RunReport"],
        "tversky": ["FocalTverskyLoss"],
    },
)
