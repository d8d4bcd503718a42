"""A bundle trained: what the command line and Python call alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..bundling.bundles import MULTI_GPU, part_file
from ..bundling.gate import Admission, admit
from ..bundling.settings import has, workflow_config
from ..bundling.workflow import Announce, run_workflow
from ..core.errors import DelineateError, printable
from ..core.files import let_go
from ..datasets.datalist import refuse_no_dataset
from .peers import refuse_too_many, with_peers
from .runs import (
    LOCK,
    begin_run,
    check_resumable,
    discard_run,
    extend_run,
    hold_training,
    refuse_other_data,
    refuse_unbegun,
    settings_of_data,
)


def train(
    bundle: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    *,
    network: str | None = None,
    loss: str | None = None,
    settings: Mapping[str, Any] | None = None,
    fold: int | None = None,
    allow_leaks: bool = False,
    resume: bool = False,
    trust: bool = False,
    init_from: str | Path | None = None,
    allow_other_data: bool = False,
    use_unlabelled: bool = False,
    processes: int = 1,
    announce: Announce | None = None,
) -> Path:
    """Train a bundle in a copy of it.

    Args:
        bundle: folder of a bundle or run, or the name of a shipped bundle.
        data: folder with ``datalist.json``, made by ``delineate data index``.
        out: the run's folder, new or empty; ``runs/BUNDLE`` where ``None``.
        network: another network, see ``delineate.networks.list_networks()``.
        loss: another loss: ``bce`` or, of exclusive structures, ``ce``; ``dice``, ``dice_bce``, ``tversky_focal`` or
            ``boundary`` of both.
        settings: ids of the bundle and their values, e.g. ``{"max_epochs": 20}``.
        fold: of a data set with folds, the one to validate on.
        allow_leaks: train although the splits leak; the run's record says so.
        resume: go on with a run that was broken off; with more ``max_epochs`` in ``settings``, extend it: from its last
            epoch on, one new cycle of the learning rate.
        trust: use the bundle, and the run that is resumed, although verification has findings; the record says so.
        init_from: begin with the weights of a run, of a shipped bundle (by its name) or of a file, as far as names and
            shapes are the network's.
        allow_other_data: resume although the data are others than before; the run's record says so.
        use_unlabelled: learn from the images without masks, too; see `MeanTeacher`.
        processes: how many of this machine train together, each with a share of every batch; on GPUs each has one.
        announce: called with the workflow's file, or files, and its arguments before it starts.

    Returns:
        the run's folder, which is a bundle, too.

    Raises:
        UnverifiedError: the bundle is no part of the package, and verification has findings.
        DelineateError: what is asked for cannot be trained; the message says what to do.
    """
    admission, data = admit(bundle, trust), Path(data)
    source = admission.folder
    run = Path(out) if out is not None else Path("runs") / source.resolve().name
    values = training_settings(source, data, settings, fold, allow_leaks)
    if not resume:
        refuse_leaks(data, values)  # before anything is made
    if values.get("pretrained") not in (None, "imagenet") and init_from is None:
        init_from, values["pretrained"] = values["pretrained"], None  # copied into the run, which then stands alone
    overlays = overlays_of(source, network, loss, use_unlabelled)
    arguments: dict[str, object] = {"bundle_root": str(run), "dataset_dir": str(data)}
    if resume and init_from:
        raise DelineateError("a run that is resumed has its weights; leave out --init-from, or begin a new run with it")
    refuse_too_many(processes, data, workflow_config(source, "train").get("fold") if fold is None else fold)
    was_there = run.exists()
    if resume:
        refuse_unbegun(run)
        arguments |= {"resume": True} | ({"allow_other_data": True} if allow_other_data else {})
    else:
        begin_run(source, run, values, overlays, None if init_from is None else Path(init_from))
    try:
        if resume:
            admission = _prepare_resume(run, data, values, overlays, allow_other_data, trust)
        files = [run / "configs" / name for name in ("train.yaml", MULTI_GPU)[: 1 + (processes > 1)]]
        if not files[-1].is_file():
            raise DelineateError(f"{run} was made before there was --processes; make its bundle anew, or leave it out")
        with with_peers(processes, partial(run_workflow, admission, files, arguments)):
            run_workflow(admission, files if processes > 1 else files[0], arguments, announce)
    except Exception:
        if not resume and not (run / "checkpoints" / "last.pt").is_file():
            discard_run(run, keep_folder=was_there)  # or it would be in the way of the next try
        raise
    finally:
        let_go(run / "checkpoints" / LOCK)
    return run


def overlays_of(bundle: Path, network: str | None, loss: str | None, use_unlabelled: bool = False) -> list[Path]:
    """The files of the parts that a training puts into its bundle.

    Raises:
        UnknownNameError: there is no such part.
        DelineateError: the bundle is of before there was a way to learn from images without masks.
    """
    if use_unlabelled and not has(workflow_config(bundle, "train"), "ema"):
        raise DelineateError(
            f"{printable(bundle)} was made before there was --use-unlabelled; make it anew: delineate bundle new"
        )
    method = "mean_teacher" if use_unlabelled else None
    parts = (("networks", network), ("losses", loss), ("unlabelled", method))
    return [part_file(kind, name) for kind, name in parts if name]


def _prepare_resume(
    run: Path, data: Path, values: Mapping[str, Any], overlays: list[Path], allow_other_data: bool, trust: bool
) -> Admission:
    """Refuse what would else be refused when the caches are filled; extend the run where that is asked."""
    from .states import settle_last

    admission = admit(run, trust)  # before anything in it is read or locked; a damaged state is no finding
    hold_training(run / "checkpoints")
    settle_last(run / "checkpoints")
    epochs = check_resumable(run, values, overlays)
    refuse_other_data(run / "logs" / "record.json", data, allow_other_data)
    if epochs is None:
        return admission
    extend_run(run, epochs)
    return admit(run, trust)


def training_settings(
    source: Path, data: Path, settings: Mapping[str, Any] | None, fold: int | None, allow_leaks: bool
) -> dict[str, Any]:
    """All that a training changes in its bundle, what the data set asks for included.

    Raises:
        DelineateError: ``data`` is no data set.
    """
    refuse_no_dataset(data)
    values = settings_of_data(source, data) | dict(settings or {})
    return values | ({} if fold is None else {"fold": fold}) | ({"allow_leaks": True} if allow_leaks else {})


def refuse_leaks(data: Path, values: Mapping[str, Any]) -> None:
    """Refuse to begin on splits that leak, unless the settings allow it; the workflow itself looks once more."""
    from ..audit import before_training

    if not values.get("allow_leaks"):
        before_training.refuse_leaks(data, mention_audit=False)
