"""``delineate data audit``: a data set looked at before anybody trains on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .console import progress, say, show_table
from .options import Quiet

_FIRST = 10


def audit(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder of the data set, made by 'delineate data index'.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for audit.json and audit.html; without it, the data set's folder.")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID|KIND",
            help="Accept one finding of the last audit, or all of one kind; may be given several times.",
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why the finding is acceptable; needed with --accept.")] = None,
    features: Annotated[
        bool,
        typer.Option(
            "--features",
            help="Also seek duplicates by the features of an encoder trained on ImageNet, "
            r"which needs the extra \[pretrained].",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Find duplicates, contradictions, leaks, odd masks and images; exit code 1 while a problem is not accepted.

    Notes (empty masks, masks of several parts or on the border and the like) may be correct and do not count.
    """
    from ..audit.accept import accept as write_accepted
    from ..audit.dataset import audit_dataset
    from ..core.errors import DelineateError

    if bool(accept) != bool(reason and reason.strip()):
        raise DelineateError("--accept goes with --reason: --accept ID --reason 'the same lesion, both in training'")
    if accept and reason:
        write_accepted(dataset, accept, reason, out)
    with progress("looking") as moved:
        result = audit_dataset(dataset, moved, out, features=features)
    rows = [[kind.replace("_", " "), *counts.values()] for kind, counts in result.counts().items()]
    show_table(f"{result.images} images", ["finding", "problems", "accepted", "notes"], rows)
    for one in result.problems[:_FIRST]:
        print(f"{one.id}: {' | '.join(one.items)}: {one.detail}")
    if len(result.problems) > _FIRST:
        print(f"... and {len(result.problems) - _FIRST} more")
    for id_ in result.stale:
        print(f"accepted, but no longer found: {id_}")
    say(f"written: {result.folder / 'audit.json'}, {result.folder / 'audit.html'}")
    if result.problems:
        number, page = len(result.problems), result.folder / "audit.html"
        options = [*(["--out", str(out)] if out else []), *(["--features"] if features else [])]
        again = shlex.join(["delineate", "data", "audit", str(dataset), *options])
        say(
            f"{number} problem{' is' if number == 1 else 's are'} open: look at them in {page}; "
            f"correct the data, or accept what may stay: {again} --accept ID --reason TEXT"
        )
        raise typer.Exit(1)
