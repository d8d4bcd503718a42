"""``delineate compare``: networks trained with the same settings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..bundling.bundles import find_bundle
from ..core.failures import advising
from ..training.runs import parse_settings
from .console import QUIET, print_monai_line, say, set_verbosity, show_table, verbosity
from .options import AllowLeaks, Bundle, Dataset, Fold, Loss, Quiet, Settings, Trust, Verbose


def compare(
    bundle: Bundle,
    data: Dataset,
    networks: Annotated[
        str, typer.Option(metavar="A,B,...", help="The networks to compare; 'delineate networks' lists them.")
    ],
    minutes: Annotated[float | None, typer.Option(help="Train each network for this many minutes.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Train each network for this many epochs.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the table and the runs; without it, runs/BUNDLE_compare.")
    ] = None,
    loss: Loss = None,
    set_: Settings = None,
    fold: Fold = None,
    allow_leaks: AllowLeaks = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted comparison.")] = False,
    trust: Trust = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train several networks with the same settings, evaluate and time them, and write one table.

    Exit code 1 when a network failed or an image could not be scored.
    """
    from ..comparison.networks import compare_networks
    from ..comparison.table import TITLES, budget_text, cells

    folder = out or Path("runs") / f"{find_bundle(bundle).resolve().name}_compare"
    with advising("go on with the same command and --resume", folder / "compare.json"):
        found = compare_networks(
            bundle,
            data,
            folder,
            [name.strip() for name in networks.split(",") if name.strip()],
            minutes=minutes,
            epochs=epochs,
            loss=loss,
            settings=parse_settings(set_ or []),
            fold=fold,
            allow_leaks=allow_leaks,
            resume=resume,
            trust=trust,
            prepare=partial(set_verbosity, verbosity()),
            announce=print_monai_line,
        )
    if verbosity() > QUIET:
        failed = [[name, f"failed: {error}"] for name, error in found.errors.items()]
        show_table(budget_text(found.terms), TITLES, [*map(cells, found.rows), *failed])
    say(f"table: {folder / 'compare.md'}, {folder / 'compare.csv'}")
    if found.errors or any(row["refused"] for row in found.rows):
        raise typer.Exit(1)
