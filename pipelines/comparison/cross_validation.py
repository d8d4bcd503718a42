"""A bundle cross-validated: each image judged once, by a network that was neither trained nor chosen on its group."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..audit.before_training import last_audit
from ..bundling.bundles import members_of, try_changes
from ..bundling.ensemble import make_ensemble
from ..bundling.gate import admit
from ..bundling.workflow import Announce
from ..core.errors import DelineateError
from ..core.processes import work_apart
from ..datasets.datalist import Datalist
from ..datasets.splitting.folds import write_folds
from ..evaluation.evaluation import merge, read_evaluation, write_evaluation
from ..evaluation.workflow import evaluate
from ..training.workflow import overlays_of, refuse_leaks, train, training_settings
from .judged import CROSS_VALIDATION
from .table import bundle_hash, settle_terms

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldJob:
    """One fold's training and evaluation, as its process is given it.

    Attributes:
        folder: with ``dataset``, ``run`` and ``evaluation``.
        fold: its number.
        seed: of the folds and of the training.
    """

    source: Path
    folder: Path
    fold: int
    seed: int
    network: str | None
    loss: str | None
    settings: Mapping[str, Any]
    allow_leaks: bool
    trust: bool
    announce: Announce | None = None
    use_unlabelled: bool = False

    def __str__(self) -> str:
        return f"fold {self.fold}, seed {self.seed}"

    @property
    def is_done(self) -> bool:
        """Whether the images of the fold, as they are divided now, were judged; the last thing that is done."""
        path = self.folder / "evaluation" / "metrics.json"
        if not path.is_file():
            return False
        judged = json.loads(path.read_text(encoding="utf-8")).get("data_hash")
        return bool(judged == Datalist.read(self.folder / "dataset").hash)


@dataclass(frozen=True)
class CrossValidation:
    """What became of a cross-validation.

    Attributes:
        folder: with a folder a fold, ``evaluation`` of all images and the bundle ``ensemble``, once all folds are done.
        runs: those of the folds that are done.
        errors: why the others are not, by ``fold 0, seed 0``.
        scores: over all images, as of :func:`~.workflow.evaluate`; ``None`` where folds are missing.
    """

    folder: Path
    runs: Sequence[Path]
    errors: Mapping[str, str]
    scores: Mapping[str, Any] | None = None


def cross_validate(
    bundle: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    folds: int | None = None,
    seeds: Sequence[int] = (0,),
    keep_test: bool = False,
    network: str | None = None,
    loss: str | None = None,
    settings: Mapping[str, Any] | None = None,
    allow_leaks: bool = False,
    trust: bool = False,
    use_unlabelled: bool = False,
    prepare: Callable[[], None] | None = None,
    announce: Announce | None = None,
) -> CrossValidation:
    """Train and judge a bundle on each fold of a data set; called again on the same terms, it goes on.

    Each fold is an ordinary run, in a process of its own: a script needs ``if __name__ == "__main__":``. An eighth of
    the images beside the fold chooses the epoch, because an epoch that is chosen on the judged images flatters.

    Args:
        bundle: folder of a bundle, or the name of a shipped one.
        data: folder with ``datalist.json``.
        out: the cross-validation's folder: new, empty, or that of one on the same terms.
        folds: how many; where ``None``, those of the data set, else five.
        seeds: each divides the images into other folds, and trains with that seed.
        keep_test: leave the test split out, to be looked at once, at the end.
        network: another network.
        loss: another loss.
        settings: ids of the bundle and their values.
        allow_leaks: train although the splits leak.
        trust: use the bundle although verification has findings.
        use_unlabelled: learn from the images without masks, too, but those that belong to a fold that is judged.
        prepare: called first in each fold's process; it can be pickled.
        announce: as of :func:`~.workflow.train`; it can be pickled.

    Raises:
        DelineateError: what is asked for is refused, before anything is trained.
    """
    source, data, out = admit(bundle, trust).folder, Path(data), Path(out)
    _refuse_terms(folds, seeds, settings or {})
    values = training_settings(source, data, settings, None, allow_leaks)
    try_changes(source, values, overlays_of(source, network, loss, use_unlabelled))
    own_folds = folds is None and any(place.fold is not None for place, _ in Datalist.read(data).labelled())
    test_apart = keep_test or own_folds
    if test_apart:
        refuse_leaks(data, values)  # new folds keep together what is alike, but the test split and own folds are given
    terms = {
        "bundle": source.resolve().name,
        "bundle_hash": bundle_hash(source),
        "network": network,
        "loss": loss,
        "settings": dict(settings or {}),
        "folds": folds,
        "seeds": list(seeds),
        "keep_test": keep_test,
        "use_unlabelled": use_unlabelled or None,  # those of before there was this had none
        "data_hash": Datalist.read(data).hash,
    }
    settle_terms(out, terms, (out / CROSS_VALIDATION).is_file(), CROSS_VALIDATION)
    logger.info(last_audit(data))
    common = (network, loss, dict(settings or {}), allow_leaks, trust, announce, use_unlabelled)
    jobs = [
        FoldJob(source, folder.parent, fold, seed, *common)
        for seed in seeds
        for fold, folder in enumerate(
            write_folds(data, _folder(out, seed, seeds), folds, seed, keep_test, use_unlabelled)
        )
    ]
    errors = {str(job): error for job in jobs if (error := _in_its_process(job, prepare))}
    runs = [job.folder / "run" for job in jobs if job.is_done]
    if errors:
        return CrossValidation(out, runs, errors)
    return CrossValidation(out, runs, errors, _conclude(out, data, jobs, test_apart, trust))


def _conclude(out: Path, data: Path, jobs: Sequence[FoldJob], test_apart: bool, trust: bool) -> Mapping[str, Any]:
    """One report over all images, and the networks of all folds as one bundle."""
    found = [read_evaluation(job.folder / "evaluation") for job in jobs]
    seeds = list(dict.fromkeys(job.seed for job in jobs))
    for job, one in zip(jobs, found, strict=True):
        place = {"fold": job.fold} | ({"seed": job.seed} if len(seeds) > 1 else {})
        one.rows[:] = [{"image": row["image"], **place} | row for row in one.rows]
    together = merge(found)
    together.facts.pop("bundle", None)  # it is another in each fold
    folds = len(jobs) // len(seeds)
    repeats = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    together.facts |= {
        "split": f"{folds}-fold cross-validation, {repeats}",  # those of other folds are another split
        "data_hash": Datalist.read(data).hash,
        "cross_validation": {
            "of": jobs[0].source.resolve().name + (f", {jobs[0].network}" if jobs[0].network else ""),
            "folds": folds,
            "seeds": seeds,
            "test_kept_apart": test_apart,
            "of_each": [_of_fold(job) for job in jobs],
        },
    }
    scores = write_evaluation(together, out / "evaluation")
    _make_ensemble(out / "ensemble", jobs, trust)
    return scores


def _of_fold(job: FoldJob) -> dict[str, Any]:
    metrics = json.loads((job.folder / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    known = {name: metrics[name] for name in ("count", "bundle") if name in metrics}
    return {"fold": job.fold, "seed": job.seed, **known, "mean_dice": metrics["mean_dice"]["value"]}


def _make_ensemble(folder: Path, jobs: Sequence[FoldJob], trust: bool) -> None:
    """The networks of all folds as one bundle, made anew where it is not of these runs."""
    runs = [admit(job.folder / "run", trust) for job in jobs]
    if folder.is_dir():
        if [member["hash"] for member in members_of(folder)] == [run.hash for run in runs]:
            return
        shutil.rmtree(folder)
    make_ensemble(runs, folder, names=[str(job) for job in jobs], trust=trust)


def _folder(out: Path, seed: int, seeds: Sequence[int]) -> Path:
    return out / f"seed_{seed}" if len(seeds) > 1 else out


def _refuse_terms(folds: int | None, seeds: Sequence[int], settings: Mapping[str, Any]) -> None:
    if folds is not None and folds < 2:
        raise DelineateError(f"--folds is {folds}; give two or more, e.g. --folds 5")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        given = ",".join(map(str, seeds)) or "none"
        raise DelineateError(f"the seeds are {given}; give each once, 0 or more: --seeds 0,1,2")
    if decided := sorted({"seed", "fold"} & set(settings)):
        raise DelineateError(f"a cross-validation decides on {', '.join(decided)}; leave out that --set, use --seeds")


def _in_its_process(job: FoldJob, prepare: Callable[[], None] | None) -> str | None:
    """Train and judge one fold, unless that is done; return why it failed."""
    if job.is_done:
        return None
    logger.info(f"\n--- {job} ---")
    error = work_apart(partial(train_fold, job), prepare)
    if error:
        logger.error(f"failed: {job}: {error}")
    return error


def train_fold(job: FoldJob) -> None:
    """Begin the run, or go on with it, then judge the fold's images."""
    data, run = job.folder / "dataset", job.folder / "run"
    begun = (run / "configs" / "train.yaml").is_file()
    if not begun:
        shutil.rmtree(run, ignore_errors=True)  # of a beginning that was killed
    train(
        job.source,
        data,
        run,
        network=None if begun else job.network,
        loss=None if begun else job.loss,
        settings=None if begun else {**job.settings, "seed": job.seed},
        allow_leaks=job.allow_leaks and not begun,
        use_unlabelled=job.use_unlabelled and not begun,
        resume=begun,
        trust=job.trust,
        announce=job.announce,
    )
    evaluate(run, data, job.folder / "evaluation", split="test", trust=job.trust, announce=job.announce)
