"""The figures of a training in MLflow's format, on the local disk."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ...installation import install
from ..core.errors import DelineateError
from ..core.ranks import rank
from .history import HistoryLogger

EXPERIMENT = "delineate"
_TAG = "delineate.run"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it reports its use to its makers otherwise
    "MLFLOW_ALLOW_FILE_STORE": "true",  # files in mlruns; else it wants a database, and SQLAlchemy
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowLogger:
    """Logs each row of the history to MLflow, in ``mlruns`` of the current folder or at ``MLFLOW_TRACKING_URI``.

    A resumed training goes on in the MLflow run of its folder. MONAI's ``MLFlowHandler`` wants a database, and
    with it SQLAlchemy.

    Args:
        enabled: nothing is done, and MLflow not needed, where it is not.
        bundle_root: folder of the run, which names it.
        history: whose rows are logged.
        settings: logged as parameters.
    """

    def __init__(
        self, enabled: bool, bundle_root: str | Path, history: HistoryLogger, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.enabled, self.folder = enabled, Path(bundle_root).absolute()
        self.history, self.settings = history, dict(settings or {})
        self._client: Any = None
        self._run = ""

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, behind the history."""
        if self.enabled and rank() == 0:
            engine.add_event_handler(Events.STARTED, self.started)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
            engine.add_event_handler(Events.COMPLETED, self.completed)

    def started(self, _: Engine) -> None:
        """Find the MLflow run of this folder, or begin one.

        Raises:
            DelineateError: MLflow is not installed.
        """
        self._client = _client()
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        number = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
        earlier = self._client.search_runs([number], f"tags.`{_TAG}` = '{self.folder.as_posix()}'", max_results=1)
        if earlier and self.settings.get("resume"):
            self._run = earlier[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        run = self._client.create_run(number, run_name=self.folder.name, tags={_TAG: self.folder.as_posix()})
        self._run = run.info.run_id
        for name, value in self.settings.items():
            self._client.log_param(self._run, name, value)

    def epoch_completed(self, engine: Engine) -> None:
        """Log the row of the epoch."""
        from mlflow.entities import Metric

        row, now = self.history.rows[-1], int(1000 * time.time())
        metrics = [Metric(name, value, now, engine.state.epoch) for name, value in row.items() if name != "epoch"]
        self._client.log_batch(self._run, metrics)

    def completed(self, _: Engine) -> None:
        """Mark the MLflow run as finished."""
        self._client.set_terminated(self._run)


def _client() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise DelineateError(f"mlflow is not installed; {install('mlflow')}, or set mlflow: false") from error
    return MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri())
