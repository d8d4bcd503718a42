"""A bundle scored: what the command line and Python call alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict

import yaml

from ..bundling.gate import admit
from ..bundling.settings import refuse_unknown, refuse_wrong_values
from ..bundling.workflow import Announce, refuse_decided, run_workflow
from ..core.files import refuse_unwritable

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

Progress = Callable[[int, int], None]


class _Mean(TypedDict):
    value: float | None
    ci95: list[float] | None


class Score(_Mean, total=False):
    """A mean over images, with its 95 % interval; ``None`` where a single group tells nothing of another.

    ``undefined``, where there are any: how many values were not finite, and are not in the mean.
    """

    undefined: int


class StructureScores(TypedDict):
    """The scores of one structure, over the ``count`` images in which it is annotated."""

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


class Scores(_Scores, total=False):
    """What `evaluate` found; the file ``metrics.json`` has more: versions, hash of the data, the policy of scores.

    Where there are several structures, the scores are means over them, and ``structures`` holds those of each by name.
    """

    structures: dict[str, StructureScores]


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


def _watch(parser: ConfigParser, on_progress: Progress) -> None:
    """Tell how far an evaluation is."""
    from ignite.engine import Events

    dataset = parser.get_parsed_content("dataset")
    if isinstance(getattr(dataset, "position", None), int):
        parser.get_parsed_content("evaluator").add_event_handler(
            Events.ITERATION_COMPLETED, lambda: on_progress(dataset.position, dataset.total)
        )
