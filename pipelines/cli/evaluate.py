"""``delineate evaluate``: run a bundle's evaluation, show its scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import workflows
from .console import print_monai_line, show_table
from .options import BundleOrRun, Dataset, Trust


def evaluate(
    bundle: BundleOrRun,
    data: Dataset,
    out: Annotated[Path, typer.Option(help="Where metrics.json and per_image.csv go.")],
    split: Annotated[str, typer.Option(help="training, validation or test.")] = "test",
    trust: Trust = False,
) -> None:
    """Score a bundle per image, on each image's own grid."""
    metrics = workflows.evaluate(bundle, data, out, split=split, trust=trust, announce=print_monai_line)
    from ..metrics import interval_text

    scores: dict[str, Any] = {name: score for name, score in metrics.items() if isinstance(score, dict)}
    rows = [[n, f"{s['value']:.4f}", interval_text(s)] for n, s in scores.items() if "ci95" in s]
    show_table(f"{metrics['count']} images of the split {split}", ["", "mean", "95 % interval"], rows)
    if metrics["refused"]:
        print(
            f"{len(metrics['refused'])} image(s) could not be scored; they are named in {out / 'metrics.json'}",
            file=sys.stderr,
        )
        raise typer.Exit(1)
