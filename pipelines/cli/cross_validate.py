"""``delineate cross-validate``: each image judged once, by a network that has not seen it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import counted
from ..core.failures import advising
from ..training.runs import parse_settings
from .console import QUIET, print_monai_line, say, set_verbosity, show_table, verbosity, warn
from .options import AllowLeaks, Bundle, Dataset, Loss, Quiet, Settings, Trust, UseUnlabelled, Verbose
from .scores import show_scores
from .split import parse_numbers


def cross_validate(
    bundle: Bundle,
    data: Dataset,
    out: Annotated[Path, typer.Option(help="Folder for the folds' runs, the scores over all images, the ensemble.")],
    folds: Annotated[
        int | None, typer.Option(help="Number of folds.", show_default="those of the data set, else 5")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Repeat it with these seeds, which change folds and training, e.g. 0,1,2.")
    ] = "0",
    keep_test: Annotated[
        bool, typer.Option("--keep-test", help="Leave the test split out, to be looked at once, at the end.")
    ] = False,
    network: Annotated[
        str | None, typer.Option(help="Use this network instead of the bundle's; 'delineate networks' lists them.")
    ] = None,
    loss: Loss = None,
    set_: Settings = None,
    allow_leaks: AllowLeaks = False,
    use_unlabelled: UseUnlabelled = False,
    trust: Trust = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Cross-validate a bundle: train on all folds but one, score that one, in turn; then one report and one ensemble.

    The same command again goes on where it was interrupted. Exit code 1 when a fold failed.
    """
    from ..comparison.cross_validation import cross_validate as run
    from ..comparison.judged import CROSS_VALIDATION
    from ..evaluation.text import folds_of

    with advising("go on with the same command", out / CROSS_VALIDATION):
        found = run(
            bundle,
            data,
            out,
            folds=folds,
            seeds=parse_numbers("--seeds", seeds, int, "whole numbers, e.g. 0,1,2"),
            keep_test=keep_test,
            network=network,
            loss=loss,
            settings=parse_settings(set_ or []),
            allow_leaks=allow_leaks,
            use_unlabelled=use_unlabelled,
            trust=trust,
            prepare=partial(set_verbosity, verbosity()),
            announce=print_monai_line,
        )
    if found.errors:
        warn(f"{counted(len(found.errors), 'fold')} failed; correct what is named above, and give the command again")
        raise typer.Exit(1)
    if found.scores is not None and verbosity() > QUIET:
        show_table("each fold", *folds_of(found.scores))
        show_scores(found.scores, out / "evaluation")
    say(f"ensemble of all folds: {out / 'ensemble'}; its members have seen these images, so score it on others")
