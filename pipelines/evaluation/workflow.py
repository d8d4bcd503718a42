"""A bundle scored: what the command line and Python call alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict

from ..bundling.bundles import refuse_own_folder
from ..bundling.gate import Bundle
from ..bundling.settings import backend_settings, refuse_unknown, refuse_wrong_values
from ..bundling.several import admitted
from ..bundling.workflow import Announce, refuse_decided, run_workflow
from ..core.errors import UnknownNameError
from ..core.files import refuse_unwritable
from ..core.yaml_files import read_yaml

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

_OF_WRITER = ("subgroups", "table", "failures", "tolerance_mm")

Progress = Callable[[int, int], None]


class _Mean(TypedDict):
    value: float | None
    ci95: list[float] | None
    median: float | None
    q1: float | None
    q3: float | None
    p5: float | None
    p95: float | None
    count: int


class Score(_Mean, total=False):
    """A mean over ``count`` images, with its 95 % interval; ``None`` where a single group tells nothing of another.

    Median, quartiles (``q1``, ``q3``), 5th and 95th percentile are of single images. ``undefined``, where there are
    any: how many values of a metric that is not ours were not finite, and are not in the mean.
    """

    undefined: int


class StructureScores(TypedDict):
    """The scores of one structure, over the ``count`` images in which it is annotated, by the metrics' names."""

    count: int
    mean_dice: Score
    mean_iou: Score
    pixel_accuracy: Score


class _Scores(TypedDict):
    split: str
    count: int
    groups: int
    refused: list[str]
    mean_dice: Score
    mean_iou: Score
    pixel_accuracy: Score
    failures: list[dict[str, Any]]
    images: dict[str, int]
    subgroups: dict[str, dict[str, dict[str, Any]]]
    protocol: str


class Scores(_Scores, total=False):
    """What `evaluate` found, which is what the file ``metrics.json`` holds: docs/metrics.md says all of it.

    Where there are several structures, the scores are means over them, and ``structures`` holds those of each by name.
    ``familiar`` counts the images unlike those of the training, where the bundle compares them; ``drafts`` those whose
    mask is as Delineate drew it, where there are such.
    """

    structures: dict[str, StructureScores]
    volumes: dict[str, Any]
    familiar: dict[str, Any]
    drafts: int


def evaluate(
    run: Bundle | Sequence[Bundle],
    data: str | Path,
    out: str | Path | None = None,
    *,
    split: str | None = None,
    fold: int | None = None,
    subgroups: str | Sequence[str] | None = None,
    table: str | Path | None = None,
    failures: Mapping[str, float] | None = None,
    tolerance_mm: float | None = None,
    backend: str | None = None,
    settings: Mapping[str, Any] | None = None,
    trust: bool = False,
    announce: Announce | None = None,
    on_progress: Progress | None = None,
) -> Scores:
    """Score a run or bundle per image, on each image's own grid.

    Args:
        run: folder of a run or bundle, the name of a shipped bundle, or one that was let in; of several in a list, the
            mean of their probabilities is scored, as `make_ensemble` does.
        data: folder with ``datalist.json``.
        out: where the reports, ``metrics.json`` and ``per_image.csv`` go; nothing is written where ``None``.
        split: ``training``, ``validation``, ``test``, or ``all`` labelled images; where ``None``, ``test``, or
            ``validation`` of a fold.
        fold: of a data set with folds, the one that is the validation; the run's own where ``None``.
        subgroups: columns by which images are divided: ``size``, fields of the data list's items, or columns of the
            table, e.g. ``["class", "device"]`` or ``"class,device"``; ``class``, ``source`` and ``size``, where there
            are such, where ``None``.
        table: a CSV file with such columns, and one with the images' file names, with or without suffix.
        failures: scores beyond which an image counts as failed; ``{"mean_dice": 0.7, "mean_iou": 0.65}`` where
            ``None``.
        tolerance_mm: of the normalised surface Dice where the size of pixels is known; 2 where ``None``.
        backend: what computes the network, as for `Segmenter`.
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
    with admitted(run, trust) as admission, TemporaryDirectory() as temporary:
        root = admission.folder
        config = root / "configs" / "evaluate.yaml"
        folder = Path(out) if out is not None else Path(temporary)
        for one in admission.members or [root]:
            refuse_own_folder(one, folder)
        arguments: dict[str, Any] = {
            "bundle_root": str(root),
            "dataset_dir": str(data),
            "split": split or ("test" if fold is None else "validation"),
            **({} if fold is None else {"fold": fold}),
            "output_dir": str(folder),
        }
        asked: dict[str, Any] = dict(
            zip(_OF_WRITER, (subgroups, table and str(table), failures, tolerance_mm), strict=True)
        )
        asked = {name: value for name, value in asked.items() if value is not None}
        settled = read_yaml(config)
        arguments |= backend_settings(root, settled, backend, settings or ())
        refuse_decided(settings or {}, arguments | asked)
        arguments |= settings or {}
        refuse_unknown(root, settled, "evaluate", arguments)
        arguments |= asked | ({"page": False} if out is None and "page" in settled else {})
        refuse_wrong_values(settled | arguments)
        _refuse_unknown_scores(settled, arguments.get("failures"))
        arguments = _of_writer(settled, arguments)
        refuse_unwritable(folder)
        watch = partial(_watch, on_progress=on_progress) if on_progress else None
        run_workflow(admission, config, arguments, announce, watch)
        scores: Scores = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return scores


def _refuse_unknown_scores(config: Mapping[str, Any], failures: Mapping[str, float] | None) -> None:
    """See that limits are of scores that there will be.

    Raises:
        UnknownNameError: one is not.
    """
    known = known_scores(config)
    for name in failures or ():
        if name not in known:
            raise UnknownNameError("score", name, known)


def known_scores(config: Mapping[str, Any]) -> list[str]:
    """The scores that an evaluation by this ``evaluate.yaml`` gives: ours, and its own."""
    from .metrics import METRICS

    own = (config.get(id_) or {} for id_ in ("key_metric", "additional_metrics"))
    return [*METRICS, *(name for metrics in own if isinstance(metrics, dict) for name in metrics)]


def _of_writer(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as a bundle of an earlier version takes them, which has no ids for those of `ScoreWriter`."""
    handlers = config.get("handlers")
    targets = [one.get("_target_") for one in handlers] if isinstance(handlers, list) else []
    writer = next((index for index, target in enumerate(targets) if str(target).endswith(".ScoreWriter")), None)
    if writer is None or "subgroups" in config:
        return dict(arguments)
    more = {name: arguments[name] for name in _OF_WRITER if name in arguments} | {"bundle_root": "@bundle_root"}
    rest = {name: value for name, value in arguments.items() if name not in _OF_WRITER}
    return rest | {f"handlers::{writer}::{name}": value for name, value in more.items()}


def _watch(parser: ConfigParser, on_progress: Progress) -> None:
    """Tell how far an evaluation is."""
    from ignite.engine import Events

    dataset = parser.get_parsed_content("dataset")
    if isinstance(getattr(dataset, "position", None), int):
        parser.get_parsed_content("evaluator").add_event_handler(
            Events.ITERATION_COMPLETED, lambda: on_progress(dataset.position, dataset.total)
        )
