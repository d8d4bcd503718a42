"""``delineate evaluate``: run a bundle's evaluation, show its scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import counted
from ..evaluation import workflow
from ..training.runs import parse_settings
from .console import QUIET, print_monai_line, progress, say, show_table, verbosity, warn
from .options import BundleOrRun, Dataset, Quiet, Settings, Trust, Verbose


def evaluate(
    bundle: BundleOrRun,
    data: Dataset,
    out: Annotated[Path, typer.Option(help="Folder for metrics.json and per_image.csv.")],
    split: Annotated[
        str | None,
        typer.Option(
            help="The split to score: training, validation or test.", show_default="test; validation with --fold"
        ),
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Score this fold, in a data set with folds.")] = None,
    set_: Settings = None,
    trust: Trust = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a trained bundle on labelled images, each at its own resolution."""
    settings = parse_settings(set_ or [])
    with progress("scoring") as moved:
        metrics = workflow.evaluate(
            bundle,
            data,
            out,
            split=split,
            fold=fold,
            settings=settings,
            trust=trust,
            announce=print_monai_line,
            on_progress=moved,
        )
    if verbosity() > QUIET:
        _show(metrics)
    say(f"written: {out / 'metrics.json'}, {out / 'per_image.csv'}")
    if metrics["refused"]:
        warn(
            f"{counted(len(metrics['refused']), 'image')} could not be scored; they are named in {out / 'metrics.json'}"
        )
        raise typer.Exit(1)


def _show(metrics: Mapping[str, Any]) -> None:
    """The scores; of several structures their mean, then each."""
    from ..evaluation.intervals import interval_text, value_text

    def rows(scores: Mapping[str, Any]) -> list[list[str]]:
        found = {name: score for name, score in scores.items() if isinstance(score, dict) and "ci95" in score}
        return [[name, value_text(score), interval_text(score)] for name, score in found.items()]

    title, columns = f"{metrics['count']} images of the split {metrics['split']}", ["score", "mean", "95 % interval"]
    if not (structures := metrics.get("structures")):
        show_table(title, columns, rows(metrics))
        return
    parts = {"mean over structures": metrics, **structures}
    table = [[name, str(part["count"]), *row] for name, part in parts.items() for row in rows(part)]
    show_table(title, ["structure", "images", *columns], table)
