"""Networks trained alike, one after the other, each in a process of its own."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..bundling.bundles import try_changes
from ..bundling.gate import admit
from ..bundling.workflow import Announce, run_workflow
from ..core.errors import DelineateError
from ..core.processes import work_apart
from ..datasets.datalist import Datalist
from ..training.runs import begin_run
from ..training.workflow import overlays_of, refuse_leaks, training_settings
from .beforehand import count_tests, refuse_unknown_metrics, warn_of_few
from .table import BUDGETED, Row, best_first, bundle_hash, finished, settle_terms, write_table

logger = logging.getLogger(__name__)
_NO_END = {"patience": 0, "save_interval": 0}  # no early stop, no checkpoints but the best and the last

_TRIAL_S, _TRIAL_SHARE = 10.0, 0.05  # a quick network's trial takes so long, on top of its budget


@dataclass(frozen=True)
class Job:
    """One network's training, as its process is told.

    Attributes:
        prepare: called first in that process, e.g. to say what is printed there.
        announce: called with each workflow's file and its arguments before it starts.
    """

    source: Path
    data: Path
    run: Path
    network: str
    minutes: float | None
    values: Mapping[str, Any]
    overlays: tuple[Path, ...]
    trust: bool = False
    epochs: int | None = None
    prepare: Callable[[], None] | None = None
    announce: Announce | None = None


@dataclass(frozen=True)
class Comparison:
    """What became of a comparison.

    Attributes:
        folder: with ``compare.md``, ``compare.csv`` and one run per network.
        rows: of the networks that were trained, the best Dice first.
        errors: why the others were not.
        terms: what all had in common.
        paired: their differences on the same images, as `compare` gives them; ``None`` where fewer than two can be
            compared.
    """

    folder: Path
    rows: Sequence[Row]
    errors: Mapping[str, str]
    terms: Mapping[str, Any]
    paired: Mapping[str, Any] | None = None


def compare_networks(
    bundle: str | Path,
    data: str | Path,
    out: str | Path,
    networks: Sequence[str],
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    loss: str | None = None,
    settings: Mapping[str, Any] | None = None,
    fold: int | None = None,
    allow_leaks: bool = False,
    resume: bool = False,
    trust: bool = False,
    use_unlabelled: bool = False,
    metrics: Sequence[str] = ("mean_dice",),
    prepare: Callable[[], None] | None = None,
    announce: Announce | None = None,
) -> Comparison:
    """Train networks for so many minutes or epochs each, all else alike; evaluate and time them, and write one table.

    Then they are compared in pairs on the same test images, as by :func:`~.paired.compare`.

    Each has a process of its own, begun anew: a script that calls this needs ``if __name__ == "__main__":``.

    Args:
        bundle: folder of a bundle, or the name of a shipped one.
        data: folder with ``datalist.json``.
        out: the comparison's folder, new or empty; each network's run is a folder in it.
        networks: names, see ``delineate.networks.list_networks()``.
        minutes: of training for each; either these or ``epochs``.
        epochs: of training for each.
        loss: another loss, see :func:`~.workflow.train`.
        settings: ids of the bundle and their values.
        fold: of a data set with folds, the one to validate on.
        allow_leaks: train although the splits leak.
        resume: go on with a comparison that was broken off.
        trust: use the bundle although verification has findings.
        use_unlabelled: learn from the images without masks, too; it takes ``epochs``, because no trial tells its time.
        metrics: in which they are compared in pairs: columns of ``per_image.csv``.
        prepare: called first in each network's process; it can be pickled.
        announce: as of :func:`~.workflow.train`; it can be pickled.

    Raises:
        DelineateError: when the terms are refused, before anything is trained.
    """
    _refuse_terms(networks, minutes, epochs, settings or {})
    if use_unlabelled and epochs is None:
        raise DelineateError("--use-unlabelled takes a number of epochs; give --epochs instead of --minutes")
    source, data, out = admit(bundle, trust).folder, Path(data), Path(out)
    values = training_settings(source, data, settings, fold, allow_leaks)
    common = Job(source, data, out, "", minutes, values, (), trust, epochs, prepare, announce)
    jobs = [
        replace(common, run=out / name, network=name, overlays=tuple(overlays_of(source, name, loss, use_unlabelled)))
        for name in networks
    ]
    refuse_unknown_metrics(source.resolve().name, source, metrics)
    for job in jobs:
        try_changes(job.source, job.values, list(job.overlays))
    if not resume:
        refuse_leaks(data, values)
    terms = {
        "bundle": source.resolve().name,
        "bundle_hash": bundle_hash(source),
        "networks": list(networks),
        "minutes": minutes,
        "epochs": epochs,
        "loss": loss,
        "settings": dict(values),
        "use_unlabelled": use_unlabelled or None,  # those of before there was this had none
        "data_hash": Datalist.read(data).hash,
    }
    settle_terms(out, terms, resume)
    warn_of_few(data, None, None, count_tests(len(networks), metrics))
    found = _train_each(jobs, out, terms)
    return replace(found, paired=_pair(found, data, metrics, trust))


def _pair(found: Comparison, data: Path, metrics: Sequence[str], trust: bool) -> Mapping[str, Any] | None:
    """Compare the networks that were trained, the best first; what cannot be compared keeps its table."""
    if len(found.rows) < 2:
        return None
    from .paired import compare

    evaluations = [found.folder / row["network"] / "evaluation" for row in found.rows]
    try:
        return compare(evaluations, data, found.folder, metrics=metrics, trust=trust)
    except DelineateError as error:
        logger.warning(f"no paired comparison: {error}")
        return None


def _train_each(jobs: Sequence[Job], out: Path, terms: Mapping[str, Any]) -> Comparison:
    """Train one network after the other, passing over those that are finished; the table is written after each."""
    rows: list[Row] = []
    errors: dict[str, str] = {}
    for job in jobs:
        error = None if finished(job.run) else _in_its_process(job)
        row = finished(job.run)
        if row and not error:
            rows.append(row)
        else:
            errors[job.network] = error or "left no result"
            logger.error(f"failed: {job.network}: {errors[job.network]}")
        write_table(out, rows, errors, terms)
    return Comparison(out, best_first(rows), errors, terms)


def _refuse_terms(
    networks: Sequence[str], minutes: float | None, epochs: int | None, settings: Mapping[str, Any]
) -> None:
    """Refuse no network, one named twice, a budget that is none, and settings that the budget decides on."""
    if not networks or len(set(networks)) < len(networks):
        raise DelineateError(f"the networks are {', '.join(networks) or 'none'}; name each once: unet,se_unet")
    if (minutes is None) == (epochs is None):
        raise DelineateError("a comparison has one budget; give either --minutes or --epochs")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise DelineateError(f"--minutes is {minutes:g}; give each network some time, e.g. --minutes 10")
    if epochs is not None and epochs < 1:
        raise DelineateError(f"--epochs is {epochs}; give each network some, e.g. --epochs 20")
    decided = BUDGETED if epochs is None else ("max_epochs", *_NO_END)
    if set_ := sorted(set(settings) & set(decided)):
        option = "--minutes" if epochs is None else "--epochs"
        raise DelineateError(f"{option} decides on {', '.join(set_)}; leave out that --set")


def _in_its_process(job: Job) -> str | None:
    """Train one network; return why it failed, or ``None``."""
    logger.info(f"\n--- {job.network} ---")
    return work_apart(partial(train_network, job), job.prepare)


def train_network(job: Job) -> None:
    """Begin the run, unless it was begun, then train, evaluate and measure it."""
    from .table import measure

    admission = admit(job.source, job.trust)
    if (job.run / "configs" / "train.yaml").is_file():
        admission = admit(job.run, job.trust)
    else:
        _begin(job)
    where: dict[str, object] = {"bundle_root": str(job.run), "dataset_dir": str(job.data)}
    run_workflow(admission, job.run / "configs" / "train.yaml", {**where, "resume": True}, job.announce)
    scores = {"split": "test", "output_dir": str(job.run / "evaluation")}
    admission = admit(job.run, job.trust)  # with the weights that are scored
    run_workflow(admission, job.run / "configs" / "evaluate.yaml", {**where, **scores}, job.announce)
    measure(job.run, job.network, job.data, job.trust)


def _begin(job: Job) -> None:
    from .budget import plan_epochs, time_training

    shutil.rmtree(job.run, ignore_errors=True)  # of a beginning that was killed
    if job.minutes is None:
        values = {**job.values, "max_epochs": job.epochs, **_NO_END}
        begin_run(job.source, job.run, values, list(job.overlays))
        return
    seconds = min(_TRIAL_S, _TRIAL_SHARE * 60 * job.minutes)
    trial = time_training(job.source, job.data, job.values, list(job.overlays), seconds)
    plan = plan_epochs(*trial, job.minutes)
    logger.info(
        f"{job.network}: a step takes {trial.step_s:.3g} s, a validation {trial.validation_s:.3g} s: "
        f"{plan.max_epochs} epochs of {plan.epoch_length} of {trial.batches} batches, "
        f"validation every {plan.val_interval}"
    )
    begin_run(job.source, job.run, {**job.values, **plan._asdict(), **_NO_END}, list(job.overlays))
