"""``delineate train``: compose a run's configuration, run it."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..bundling.bundles import find_bundle
from ..core.failures import advising
from ..training import workflow
from ..training.runs import parse_settings
from .console import print_monai_line, say
from .options import AllowLeaks, Bundle, Dataset, Fold, Loss, Quiet, Settings, Trust, UseUnlabelled, Verbose


def train(
    bundle: Bundle,
    data: Dataset,
    out: Annotated[Path | None, typer.Option(help="Folder to create for the run; without it, runs/BUNDLE.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Use this network instead of the bundle's; 'delineate networks' lists them.")
    ] = None,
    loss: Loss = None,
    set_: Settings = None,
    fold: Fold = None,
    allow_leaks: AllowLeaks = False,
    use_unlabelled: UseUnlabelled = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted run; with --set max_epochs=N, add epochs to it."),
    ] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|FILE", help="Start from the weights of this run or file, as far as they fit the network."
        ),
    ] = None,
    allow_other_data: Annotated[
        bool, typer.Option("--allow-other-data", help="Resume even if the data have changed; the run's record says so.")
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            metavar="N", help="Train in N processes of this machine, on GPUs one each; batch_size is that of all."
        ),
    ] = 1,
    trust: Trust = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a bundle; the result is again a bundle."""
    run = out or Path("runs") / find_bundle(bundle).resolve().name
    words = ["delineate", "train", bundle, "--data", str(data), "--out", str(run), "--resume"]
    again = shlex.join(words if processes == 1 else [*words, "--processes", str(processes)])
    with advising(f"go on with: {again}", run / "configs" / "train.yaml"):
        workflow.train(
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
            use_unlabelled=use_unlabelled,
            trust=trust,
            processes=processes,
            announce=partial(print_monai_line, processes=processes),
        )
    say(f"run: {run}")
