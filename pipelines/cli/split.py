"""``delineate data split``: other splits of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ..core.errors import DelineateError, counted
from .console import QUIET, say, show_refused, show_table, verbosity
from .options import Quiet

if TYPE_CHECKING:
    from ..datasets.splitting.resplit import SplitReport

Number = TypeVar("Number", int, float)


def split(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder of the data set, made by 'delineate data index'.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder to create for the new data set; with several seeds, OUT/seed_0, OUT/seed_1, ..."),
    ],
    shares: Annotated[
        str, typer.Option("--split", help="Shares of the images for training, validation and test.")
    ] = "0.7,0.15,0.15",
    folds: Annotated[
        int | None, typer.Option(help="Split training and validation images into this many folds.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the random split; one data set per seed, e.g. 0,1,2.")] = "0",
    official: Annotated[
        bool, typer.Option("--official", help="Keep the validation and test images of the official split.")
    ] = False,
    labelled_share: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Keep the masks of this share of the training images, e.g. 0.1; the others become unlabelled.",
        ),
    ] = None,
    audit: Annotated[Path | None, typer.Option(help="Folder of the last audit, if it is not DATASET.")] = None,
    quiet: Quiet = False,
) -> None:
    """Split the images of a data set again; no image is read, copied or changed.

    Images that show the same, by the data list or the last audit, stay in one split.
    """
    from ..datasets.splitting.resplit import split_dataset
    from ..datasets.splitting.splits import Plan

    fractions = tuple(parse_numbers("--split", shares, float, "three shares, e.g. 0.7,0.15,0.15"))
    chosen = parse_numbers("--seeds", seeds, int, "whole numbers, e.g. 0,1,2")
    outs = {seed: out / f"seed_{seed}" if len(chosen) > 1 else out for seed in chosen}
    reports = {
        seed: split_dataset(dataset, place, Plan(fractions, seed, folds), official, audit, labelled_share)
        for seed, place in outs.items()
    }
    rows = [[seed, *pair] for seed, report in reports.items() for pair in _numbers(report)]
    if verbosity() > QUIET:
        show_table("images", ["seed", "split", "images"], rows)
    if joined := max(report.joined for report in reports.values()):
        say(f"{counted(joined, 'group')} joined with others that show the same picture")
    show_refused([error for report in list(reports.values())[:1] for error in report.refused])
    for report in reports.values():
        for move in report.moved:
            say(f"moved: group {move.group} was in {', '.join(move.old)}, is in {move.new}")
        say(f"written: {report.path}")


def _numbers(report: SplitReport) -> list[tuple[str, int]]:
    return [*report.splits.items(), *([("unlabelled", report.unlabelled)] if report.unlabelled else [])]


def parse_numbers(option: str, text: str, kind: Callable[[str], Number], needed: str) -> list[Number]:
    """Numbers with commas between.

    Raises:
        DelineateError: something else; the message names the option and says what is needed.
    """
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise DelineateError(f"{option} got {text!r}; give {needed}") from None
