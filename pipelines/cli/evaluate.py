"""``delineate evaluate``: run a bundle's evaluation, show its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..bundling.workflow import refuse_decided
from ..core.errors import DelineateError, counted
from ..evaluation import workflow
from ..training.runs import parse_settings
from .console import QUIET, print_monai_line, progress, verbosity, warn
from .ensembles import admitted_runs
from .options import AsEnsemble, Backend, Dataset, InferenceSettings, Quiet, Trust, Tta, Verbose, bundle_names
from .scores import Failures, Subgroups, Table, Tolerance, parse_failures, show_scores


def evaluate(
    context: typer.Context,
    bundle: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|BUNDLE",
            help="Folder of a run or bundle, or the name of a shipped bundle; with --ensemble several.",
            autocompletion=bundle_names,
        ),
    ],
    data: Dataset,
    out: Annotated[Path, typer.Option(help="Folder for the reports, metrics.json and per_image.csv.")],
    split: Annotated[
        str | None,
        typer.Option(
            help="The split to score: training, validation, test, or all labelled images.",
            show_default="test; validation with --fold",
        ),
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Score this fold, in a data set with folds.")] = None,
    ensemble: AsEnsemble = False,
    tta: Tta = None,
    backend: Backend = None,
    subgroups: Subgroups = None,
    table: Table = None,
    failure: Failures = None,
    tolerance_mm: Tolerance = None,
    set_: InferenceSettings = None,
    trust: Trust = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a trained bundle on labelled images, each at its own resolution."""
    if len(bundle) > 1 and not ensemble:
        raise DelineateError("name one run; of several, --ensemble scores the mean of their probabilities")
    settings = parse_settings(set_ or [])
    if tta:
        refuse_decided(settings, {"tta": tta})
        settings["tta"] = tta
    runs = context.with_resource(admitted_runs(bundle, trust)) if ensemble else bundle[0]
    with progress("scoring") as moved:
        metrics = workflow.evaluate(
            runs,
            data,
            out,
            split=split,
            fold=fold,
            subgroups=subgroups,
            table=table,
            failures=parse_failures(failure),
            tolerance_mm=tolerance_mm,
            backend=backend,
            settings=settings,
            trust=trust,
            announce=None if ensemble else print_monai_line,
            on_progress=moved,
        )
    if verbosity() > QUIET:
        show_scores(metrics, out)
    if metrics["refused"]:
        warn(
            f"{counted(len(metrics['refused']), 'image')} could not be scored; they are named in {out / 'metrics.json'}"
        )
        raise typer.Exit(1)
