"""Options of an evaluation, and its scores on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import DelineateError, counted
from .console import say, show_table

Subgroups = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Columns by which images are divided, separated by commas: class, size, fields of the data list, or "
        "columns of --table.",
        show_default="class, source and size, where there are such",
    ),
]
Table = Annotated[
    Path | None, typer.Option(help="A CSV file with columns for --subgroups, and one with the images' file names.")
]
Failures = Annotated[
    list[str] | None,
    typer.Option(
        "--failure",
        metavar="SCORE=LIMIT",
        help="Count images beyond this score as failed; may be given several times.",
        show_default="mean_dice=0.7 and mean_iou=0.65",
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance-mm",
        help="Tolerance of the surface Dice in mm, where the size of pixels is known.",
        show_default="2",
    ),
]


def parse_failures(limits: Sequence[str] | None) -> dict[str, float] | None:
    """``["mean_dice=0.7"]`` to ``{"mean_dice": 0.7}``.

    Raises:
        DelineateError: one is not of that form.
    """
    try:
        pairs = [limit.split("=") for limit in limits or ()]
        return {name: float(number) for name, number in pairs} or None
    except ValueError:
        raise DelineateError(
            f"--failure got {', '.join(limits or ())}; write SCORE=LIMIT, e.g. --failure mean_dice=0.7"
        ) from None


def show_scores(metrics: Mapping[str, Any], out: Path) -> None:
    """The main scores, of several structures their mean, then each; failures, and where one of the masks was empty."""
    from ..datasets.splitting.splits import split_words
    from ..evaluation.headline import headline
    from ..evaluation.intervals import interval_text, value_text
    from ..evaluation.text import failure_line, outcome_line

    structures: Mapping[str, Any] = metrics.get("structures") or {}
    parts = {"mean over structures" if structures else "": metrics, **structures}
    names = headline(metrics)
    rows = [
        [part, str(found[name]["count"]), name, value_text(found[name]), interval_text(found[name])]
        for part, found in parts.items()
        for name in names
    ]
    columns = ["structure", "images", "score", "mean", "95 % interval"]
    title = f"{counted(metrics['count'], 'image')} of {split_words(metrics['split'])}"
    if structures:
        show_table(title, columns, rows)
    else:
        show_table(title, columns[2:], [row[2:] for row in rows])
    for one in metrics["failures"]:
        say(failure_line(one))
    say(outcome_line(metrics["images"]))
    say(f"written: {', '.join(str(out / name) for name in files_of(out))}")


def files_of(out: Path) -> list[str]:
    """The files of an evaluation that are there, the one for people first."""
    names = ("report.html", "report.txt", "metrics.json", "per_image.csv", "per_volume.csv")
    return [name for name in names if (out / name).is_file()]
