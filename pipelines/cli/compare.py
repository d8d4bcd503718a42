"""``delineate train --compare``: one network after the other, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from ..bundling.bundles import change_bundle, copy_bundle, part
from ..bundling.gate import admit
from ..comparison.table import (
    BUDGETED,
    TITLES,
    best_first,
    budget_text,
    bundle_hash,
    finished,
    settle_terms,
    shown,
    write_table,
)
from ..core.errors import DelineateError, known_cause
from ..datasets.datalist import data_hash
from ..training.runs import begin_run
from ..training.workflows import run_workflow
from .console import QUIET, print_monai_line, say, set_verbosity, show_table, verbosity, warn

_NO_END = {"patience": 0, "save_interval": 0}  # no early stop, no checkpoints but the best and the last

_TRIAL_S, _TRIAL_SHARE = 10.0, 0.05  # a quick network's trial takes so long, on top of its budget


@dataclass(frozen=True)
class Job:
    """One network's training, as its process is told."""

    source: Path
    data: Path
    run: Path
    network: str
    minutes: float | None
    values: Mapping[str, Any]
    overlays: tuple[Path, ...]
    trust: bool = False
    epochs: int | None = None


def compare_networks(
    source: Path,
    data: Path,
    out: Path,
    networks: str,
    minutes: float | None,
    loss: str | None,
    values: Mapping[str, Any],
    resume: bool,
    trust: bool = False,
    epochs: int | None = None,
) -> None:
    """Train the networks, named with commas between, for so many minutes or epochs; write and show one table.

    Raises:
        DelineateError: when the terms are refused, before anything is trained.
        typer.Exit: with 1 when a network failed or an image could not be scored.
    """
    names = [name.strip() for name in networks.split(",") if name.strip()]
    jobs = [
        Job(source, data, out / name, name, minutes, values, tuple(_overlays(name, loss)), trust, epochs)
        for name in names
    ]
    _refuse(jobs)
    terms = {
        "bundle": source.resolve().name,
        "bundle_hash": bundle_hash(source),
        "networks": names,
        "minutes": minutes,
        "epochs": epochs,
        "loss": loss,
        "settings": dict(values),
        "data_hash": data_hash(data),
    }
    settle_terms(out, terms, resume)
    rows, errors = [], {}
    for job in jobs:
        error = None if finished(job.run) else _in_its_process(job)
        row = finished(job.run)
        if row and not error:
            rows.append(row)
        else:
            errors[job.network] = error or "left no result"
            warn(f"failed: {job.network}: {errors[job.network]}")
        write_table(out, rows, errors, terms)
    cells = [shown(row) for row in best_first(rows)] + [[name, f"failed: {error}"] for name, error in errors.items()]
    if verbosity() > QUIET:
        show_table(budget_text(terms), TITLES, cells)
    say(f"table: {out / 'compare.md'}, {out / 'compare.csv'}")
    if errors or any(row["refused"] for row in rows):
        raise typer.Exit(1)


def _overlays(network: str, loss: str | None) -> list[Path]:
    return [part("networks", network), *([part("losses", loss)] if loss else [])]


def _refuse(jobs: list[Job]) -> None:
    """Refuse what would fail later: no network, one named twice, a budget that is none, ids that it decides on."""
    names = [job.network for job in jobs]
    if not jobs or len(set(names)) < len(names):
        raise DelineateError(f"--compare got {', '.join(names) or 'nothing'}; name each network once: unet,se_unet")
    minutes, epochs = jobs[0].minutes, jobs[0].epochs
    if (minutes is None) == (epochs is None):
        raise DelineateError("a comparison has one budget; give either --minutes or --epochs")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise DelineateError(f"--minutes is {minutes:g}; give each network some time, e.g. --minutes 10")
    if epochs is not None and epochs < 1:
        raise DelineateError(f"--epochs is {epochs}; give each network some, e.g. --epochs 20")
    decided = BUDGETED if epochs is None else ("max_epochs", *_NO_END)
    if set_ := sorted(set(jobs[0].values) & set(decided)):
        option = "--minutes" if epochs is None else "--epochs"
        raise DelineateError(f"{option} decides on {', '.join(set_)}; leave out that --set")
    for job in jobs:
        with TemporaryDirectory() as draft:
            copy_bundle(job.source, Path(draft) / "bundle")
            change_bundle(Path(draft) / "bundle", job.values, list(job.overlays))


def _in_its_process(job: Job) -> str | None:
    """Train one network; return why it failed, or ``None``. Its memory is given back when its process ends."""
    say(f"\n--- {job.network} ---")
    spawn = get_context("spawn")
    reasons, reason = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_child, args=(job, reason, verbosity()))
    process.start()
    reason.close()
    try:
        process.join()
    except BaseException:
        process.terminate()
        process.join(10)
        process.kill()
        process.join()
        raise
    if process.exitcode == 0:
        return None
    try:
        return str(reasons.recv())
    except EOFError:
        code = process.exitcode or 0
        return f"its process was killed by signal {-code}; memory?" if code < 0 else f"its process ended with {code}"


def _child(job: Job, reason: Connection, chosen: int) -> None:
    set_verbosity(chosen)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        train_network(job)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        reason.send(_told(error))
        sys.exit(1)


def _told(error: BaseException) -> str:
    """One line about what went wrong; where no user can put it right, standard error gets the traceback."""
    if known := known_cause(error):
        return " ".join(str(known).split())
    traceback.print_exception(error)
    while error.__cause__ is not None:  # MONAI wraps what its components raise
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _end_with_parent() -> None:
    """Two processes must never train in one folder: one whose parent was killed ends, too."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def train_network(job: Job) -> None:
    """Begin the run, unless it was begun, then train, evaluate and measure it."""
    from ..comparison.table import measure

    admission = admit(job.source, job.trust)
    if (job.run / "configs" / "train.yaml").is_file():
        admission = admit(job.run, job.trust)
    else:
        _begin(job)
    where: dict[str, object] = {"bundle_root": str(job.run), "dataset_dir": str(job.data)}
    run_workflow(admission, job.run / "configs" / "train.yaml", {**where, "resume": True}, print_monai_line)
    scores = {"split": "test", "output_dir": str(job.run / "evaluation")}
    run_workflow(admission, job.run / "configs" / "evaluate.yaml", {**where, **scores}, print_monai_line)
    measure(job.run, job.network, job.data, job.trust)


def _begin(job: Job) -> None:
    from ..comparison.budget import plan_epochs, time_training

    shutil.rmtree(job.run, ignore_errors=True)  # of a beginning that was killed
    if job.minutes is None:
        values = {**job.values, "max_epochs": job.epochs, **_NO_END}
        begin_run(job.source, job.run, values, list(job.overlays))
        return
    seconds = min(_TRIAL_S, _TRIAL_SHARE * 60 * job.minutes)
    trial = time_training(job.source, job.data, job.values, list(job.overlays), seconds)
    plan = plan_epochs(*trial, job.minutes)
    say(
        f"{job.network}: a step takes {trial.step_s:.3g} s, a validation {trial.validation_s:.3g} s: "
        f"{plan.max_epochs} epochs of {plan.epoch_length} of {trial.batches} batches, "
        f"validation every {plan.val_interval}"
    )
    begin_run(job.source, job.run, {**job.values, **plan._asdict(), **_NO_END}, list(job.overlays))
