"""A bundle trained, a bundle scored: what the command line and Python call alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict

import yaml

from ..bundling.bundles import part
from ..bundling.gate import Admission, admit, in_use
from ..bundling.settings import refuse_unknown, refuse_wrong_values
from ..core.errors import DelineateError, plain_errors
from ..core.files import let_go, refuse_unwritable
from ..core.logs import quiet_libraries
from ..datasets.datalist import refuse_no_dataset
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

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

Progress = Callable[[int, int], None]
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


def evaluate(
    run: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    *,
    split: str | None = None,
    fold: int | None = None,
    settings: Mapping[str, Any] | None = None,
    trust: bool = False,
    announce: Announce | None = None,
    on_progress: Progress | None = None,
) -> Scores:
    """Score a run or bundle per image, on each image's own grid.

    Args:
        run: folder of a run or bundle, or the name of a shipped bundle.
        data: folder with ``datalist.json``.
        out: where ``metrics.json`` and ``per_image.csv`` go; nothing is written where ``None``.
        split: ``training``, ``validation`` or ``test``; where ``None``, ``test``, or ``validation`` of a fold.
        fold: of a data set with folds, the one that is the validation; the run's own where ``None``.
        settings: ids of the bundle's ``evaluate.yaml`` and their values, e.g. ``{"threshold": 0.4}``.
        trust: use it although verification has findings; ``metrics.json`` says so.
        announce: called with the workflow's file and its arguments before it starts.
        on_progress: called with how many images are done, and how many there are.

    Returns:
        the means with their intervals, the number of images, and which were refused.

    Raises:
        UnverifiedError: it is no part of the package, and verification has findings.
        DelineateError: nothing can be scored; the message says what to do.
    """
    admission = admit(run, trust)
    root = admission.folder
    config = root / "configs" / "evaluate.yaml"
    with TemporaryDirectory() as temporary:
        folder = Path(out) if out is not None else Path(temporary)
        arguments: dict[str, Any] = {
            "bundle_root": str(root),
            "dataset_dir": str(data),
            "split": split or ("test" if fold is None else "validation"),
            **({} if fold is None else {"fold": fold}),
            "output_dir": str(folder),
        }
        refuse_decided(settings or {}, arguments)
        arguments |= settings or {}
        settled = yaml.safe_load(config.read_text(encoding="utf-8"))
        refuse_unknown(root, settled, "evaluate", arguments)
        refuse_wrong_values(settled | arguments)
        refuse_unwritable(folder)
        watch = partial(_watch, on_progress=on_progress) if on_progress else None
        run_workflow(admission, config, arguments, announce, watch)
        scores: Scores = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return scores


def refuse_decided(settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Refuse settings of what is given otherwise.

    Raises:
        DelineateError: an id stands in both.
    """
    if both := sorted(set(settings) & set(arguments)):
        raise DelineateError(f"{', '.join(both)} is given by an option of its own; leave out that --set")


def run_workflow(
    admission: Admission,
    config_file: Path,
    arguments: Mapping[str, object],
    announce: Announce | None = None,
    prepare: Callable[[ConfigParser], None] | None = None,
) -> None:
    """Run a workflow of a bundle that was let in, in this process, as ``python -m monai.bundle run`` does.

    Args:
        admission: of the bundle.
        config_file: of the bundle.
        arguments: ids and their values.
        announce: called with both before the workflow starts.
        prepare: called with the workflow's parser before it runs.
    """
    if announce:
        announce(str(config_file), arguments)
    from monai.bundle import ConfigWorkflow

    configured = logging.getLogger(__name__).hasHandlers()
    with plain_errors(), in_use(admission), quiet_libraries():
        workflow = ConfigWorkflow(str(config_file), logging_file=False if configured else None, **arguments)
        workflow.initialize()
        if prepare:
            prepare(workflow.parser)
        workflow.run()
        with suppress(SystemExit):  # how a stock run tells that inputs were refused; here the caller tells
            workflow.finalize()


def _watch(parser: ConfigParser, on_progress: Progress) -> None:
    """Tell how far an evaluation is."""
    from ignite.engine import Events

    dataset = parser.get_parsed_content("dataset")
    if isinstance(getattr(dataset, "position", None), int):
        parser.get_parsed_content("evaluator").add_event_handler(
            Events.ITERATION_COMPLETED, lambda: on_progress(dataset.position, dataset.total)
        )
