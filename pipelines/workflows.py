"""A bundle trained, a bundle scored: what the command line and Python call alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

from .bundles import part
from .errors import DelineateError, plain_errors
from .files import let_go
from .gate import Admission, admit, in_use
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

Announce = Callable[[str, Mapping[str, object]], None]


class Score(TypedDict):
    """A mean over images, with its 95 % interval; ``None`` where a single group tells nothing of another."""

    value: float
    ci95: list[float] | None


class Scores(TypedDict):
    """What `evaluate` found; the file ``metrics.json`` has more: versions, hash of the data, the policy of scores."""

    split: str
    count: int
    groups: int
    refused: list[str]
    mean_dice: Score
    mean_iou: Score
    pixel_accuracy: Score


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
    announce: Announce | None = None,
) -> Path:
    """Train a bundle in a copy of it.

    Args:
        bundle: folder of a bundle or run, or the name of a shipped bundle.
        data: folder with ``datalist.json``, made by ``delineate data index``.
        out: the run's folder, new or empty; ``runs/BUNDLE`` where ``None``.
        network: another network, see ``delineate.networks.list_networks()``.
        loss: another loss: ``bce``, ``dice`` or ``dice_bce``.
        settings: ids of the bundle and their values, e.g. ``{"max_epochs": 20}``.
        fold: of a data set with folds, the one to validate on.
        allow_leaks: train although the splits leak; the run's record says so.
        resume: go on with a run that was broken off; with more ``max_epochs`` in ``settings``, extend it: from its last
            epoch on, one new cycle of the learning rate.
        trust: use the bundle, and the run that is resumed, although verification has findings; the record says so.
        init_from: begin with the weights of a run or of a file, as far as names and shapes are the network's.
        allow_other_data: resume although the data are others than before; the run's record says so.
        announce: called with the workflow's file and its arguments before it starts.

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
    overlays = [part(kind, name) for kind, name in (("networks", network), ("losses", loss)) if name]
    arguments: dict[str, object] = {"bundle_root": str(run), "dataset_dir": str(data)}
    if resume and init_from:
        raise DelineateError("a run that is resumed has its weights; leave out --init-from, or begin a new run with it")
    was_there = run.exists()
    if resume:
        refuse_unbegun(run)
        arguments |= {"resume": True} | ({"allow_other_data": True} if allow_other_data else {})
    else:
        begin_run(source, run, values, overlays, None if init_from is None else Path(init_from))
    try:
        if resume:
            admission = _prepare_resume(run, data, values, overlays, allow_other_data, trust)
        run_workflow(admission, run / "configs" / "train.yaml", arguments, announce)
    except Exception:
        if not resume and not (run / "checkpoints" / "last.pt").is_file():
            discard_run(run, keep_folder=was_there)  # or it would be in the way of the next try
        raise
    finally:
        let_go(run / "checkpoints" / LOCK)
    return run


def _prepare_resume(
    run: Path, data: Path, values: Mapping[str, Any], overlays: list[Path], allow_other_data: bool, trust: bool
) -> Admission:
    """Refuse what would else be refused when the caches are filled; extend the run where that is asked."""
    from .states import settle_last

    hold_training(run / "checkpoints")
    settle_last(run / "checkpoints")
    admission = admit(run, trust)
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
    if not (data / "datalist.json").is_file():
        raise DelineateError(
            f"{data} has no datalist.json; index the images first: delineate data index SOURCE --out {data}"
        )
    values = settings_of_data(source, data) | dict(settings or {})
    return values | ({} if fold is None else {"fold": fold}) | ({"allow_leaks": True} if allow_leaks else {})


def refuse_leaks(data: Path, values: Mapping[str, Any]) -> None:
    """Refuse to begin on splits that leak, unless the settings allow it; the workflow itself looks once more."""
    from .audit import before_training

    before_training.refuse_leaks(data, values.get("allow_leaks", False))


def evaluate(
    run: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    *,
    split: str = "test",
    trust: bool = False,
    announce: Announce | None = None,
) -> Scores:
    """Score a run or bundle per image, on each image's own grid.

    Args:
        run: folder of a run or bundle, or the name of a shipped bundle.
        data: folder with ``datalist.json``.
        out: where ``metrics.json`` and ``per_image.csv`` go; nothing is written where ``None``.
        split: ``training``, ``validation`` or ``test``.
        trust: use it although verification has findings; ``metrics.json`` says so.
        announce: called with the workflow's file and its arguments before it starts.

    Returns:
        the means with their intervals, the number of images, and which were refused.

    Raises:
        UnverifiedError: it is no part of the package, and verification has findings.
        DelineateError: nothing can be scored; the message says what to do.
    """
    admission = admit(run, trust)
    root = admission.folder
    with TemporaryDirectory() as temporary:
        folder = Path(out) if out is not None else Path(temporary)
        arguments = {"bundle_root": str(root), "dataset_dir": str(data), "split": split, "output_dir": str(folder)}
        run_workflow(admission, root / "configs" / "evaluate.yaml", arguments, announce)
        scores: Scores = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return scores


def run_workflow(
    admission: Admission, config_file: Path, arguments: Mapping[str, object], announce: Announce | None = None
) -> None:
    """Run a workflow of a bundle that was let in, in this process, as ``python -m monai.bundle run`` does."""
    if announce:
        announce(str(config_file), arguments)
    from monai.bundle import run

    with plain_errors(), in_use(admission):
        run(config_file=str(config_file), **arguments)
