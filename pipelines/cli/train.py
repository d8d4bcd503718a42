"""``delineate train``: compose a run's configuration, run it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ..bundling.bundles import find_bundle
from ..core.failures import advising
from ..training import workflows
from ..training.runs import parse_settings
from .console import print_monai_line, say
from .options import Dataset, Quiet, Settings, Trust, Verbose


def train(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or a shipped bundle's name.")],
    data: Dataset,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/BUNDLE where not given.")] = None,
    network: Annotated[str | None, typer.Option(help="Use this network; see 'delineate networks'.")] = None,
    loss: Annotated[str | None, typer.Option(help="Use this loss: bce, dice or dice_bce.")] = None,
    set_: Settings = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Of a data set with folds: validate on this one.")] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Train although the splits leak; the run's record says so.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run that was broken off; with --set max_epochs=N, extend it."),
    ] = False,
    init_from: Annotated[
        Path | None, typer.Option(metavar="RUN|FILE", help="Begin with these weights, as far as they fit.")
    ] = None,
    allow_other_data: Annotated[
        bool, typer.Option("--allow-other-data", help="Resume on other data; the run's record says so.")
    ] = False,
    trust: Trust = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a bundle; the run is a bundle, too."""
    run = out or Path("runs") / find_bundle(bundle).resolve().name
    again = shlex.join(["delineate", "train", bundle, "--data", str(data), "--out", str(run), "--resume"])
    with advising(f"go on with: {again}", run / "configs" / "train.yaml"):
        workflows.train(
            bundle,
            data,
            run,
            network=network,
            loss=loss,
            settings=parse_settings(set_ or []),
            fold=fold,
            allow_leaks=allow_leaks,
            resume=resume,
            init_from=init_from,
            allow_other_data=allow_other_data,
            trust=trust,
            announce=print_monai_line,
        )
    say(f"run: {run}")
