"""What a training shows while it runs and leaves behind: progress, curves, a record."""

from __future__ import annotations

import csv
import io
import logging
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..core.files import write_atomically
from ..core.ranks import mean_over_processes, rank
from ..imaging.structures import structures_of

logger = logging.getLogger(__name__)


class EpochSeed:
    """Makes each epoch's randomness depend on seed and epoch alone, so that a resumed training repeats an unbroken one.

    Args:
        dataset: data set with ``set_epoch``.
        seed: non-negative integer.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the epoch that starts."""
        torch.manual_seed(self.seed + engine.state.epoch + 1_000_003 * rank())  # dropout differs between processes
        self.dataset.set_epoch(engine.state.epoch)


class HistoryLogger:
    """One line and one row of ``history.csv`` an epoch; a progress bar on a terminal. Of several processes the first.

    Columns: epoch, loss (mean of the epoch), learning_rate, one ``val_*`` per metric of the validator (empty in epochs
    without validation) and, where there are several structures, one more of each; seconds.

    Args:
        validator: evaluator whose metrics are shown.
        optimizer: optimizer whose learning rate is shown.
        output_dir: folder of ``history.csv``.
        writer: TensorBoard's ``SummaryWriter``, given the same figures.
        structures: those of the channels, as the bundle names them; one without a name where ``None``.
    """

    def __init__(
        self,
        validator: Engine,
        optimizer: torch.optim.Optimizer,
        output_dir: str | Path,
        writer: Any = None,
        structures: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.writer, self.structures = writer, structures_of(structures)
        self.validator, self.optimizer, self.path = validator, optimizer, Path(output_dir) / "history.csv"
        self.rows: list[dict[str, Any]] = []
        self._losses: list[torch.Tensor] = []
        self._start = 0.0
        self._bar: Progress | None = None

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the rows of ``state``."""
        self.rows = list(state["rows"])

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, behind the validation and before what saves its state."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
        for last in (Events.COMPLETED, Events.TERMINATE, Events.EXCEPTION_RAISED):
            engine.add_event_handler(last, self.stop)
        engine.add_event_handler(Events.COMPLETED, self.warn_of_nothing)

    def epoch_started(self, engine: Engine) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._losses, self._start = [], time.perf_counter()
        console = Console(file=sys.stdout)
        if console.is_terminal and self._bar is None and logger.isEnabledFor(logging.INFO):
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console, transient=True)
            self._bar.start()
            self._bar.add_task("")
        if self._bar:
            description = f"epoch {engine.state.epoch}/{engine.state.max_epochs}"
            self._bar.reset(self._bar.task_ids[0], total=engine.state.epoch_length, description=description)

    def iteration_completed(self, engine: Engine) -> None:
        """Keep the loss."""
        self._losses.append(engine.state.output["loss"].detach())
        if self._bar:
            self._bar.advance(self._bar.task_ids[0])

    def epoch_completed(self, engine: Engine) -> None:
        """Write the row and the line."""
        row = {
            "epoch": engine.state.epoch,
            "loss": float(mean_over_processes(torch.stack(self._losses).mean())),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        validated = self.validator.state.epoch == engine.state.epoch
        means = {name: float(value) for name, value in self.validator.state.metrics.items() if validated}
        row |= means | (self._of_structures(means) if len(self.structures) > 1 else {})
        row["seconds"] = round(time.perf_counter() - self._start, 2)
        row = {name: value for name, value in row.items() if name == "loss" or math.isfinite(value)}
        self.rows.append(row)
        if rank() > 0:
            return
        self._write()
        self._write_curves(row)
        shown = "  ".join(f"{name} {row[name]:.4f}" for name in ("loss", *means) if name in row)
        line = f"epoch {row['epoch']}/{engine.state.max_epochs}  {shown}  {row['seconds']:.1f} s"
        logger.info(line) if self._bar is None else self._bar.console.print(line)

    def _of_structures(self, names: Iterable[str]) -> dict[str, float]:
        """The mean of each structure over the images that have a value, of the metrics that tell them apart."""
        details = getattr(self.validator.state, "metric_details", {})
        found = {name: details[name] for name in names if details.get(name) is not None}
        return {
            f"{name}_{structure.file_name}": float(value)
            for name, values in found.items()
            if isinstance(values, torch.Tensor) and values.shape[1:] == (len(self.structures),)
            for structure, value in zip(self.structures, values.nanmean(0), strict=True)
        }

    def stop(self, _: Engine, error: BaseException | None = None) -> None:
        """Take the bar away.

        Raises:
            BaseException: what ended the training, which ignite would else swallow.
        """
        if self._bar:
            self._bar.stop()
            self._bar = None
        if error is not None:
            raise error

    def warn_of_nothing(self, _: Engine) -> None:
        """Say so where no validation has found anything of the reference."""
        if self.validator.state.best_metric == 0:
            logger.warning(
                "the best validation Dice is 0: the network finds nothing yet; train longer (--resume --set "
                "max_epochs=N), or look at the threshold and the labels, which may be empty (delineate data audit)"
            )

    def _write_curves(self, row: dict[str, Any]) -> None:
        if self.writer is not None:
            for name in row.keys() - {"epoch"}:
                self.writer.add_scalar(name, row[name], row["epoch"])
            self.writer.flush()

    def _write(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        names.append(names.pop(names.index("seconds")))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, text.getvalue().encode())
