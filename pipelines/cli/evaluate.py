"""``delineate evaluate``: run a bundle's evaluation, show its scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..bundles import find_bundle
from .console import run_workflow, show_table
from .options import BundleOrRun, Dataset


def evaluate(
    bundle: BundleOrRun,
    data: Dataset,
    out: Annotated[Path, typer.Option(help="Where metrics.json and per_image.csv go.")],
    split: Annotated[str, typer.Option(help="training, validation or test.")] = "test",
) -> None:
    """Score a bundle per image, on each image's own grid."""
    root = find_bundle(bundle)
    arguments = {"bundle_root": str(root), "dataset_dir": str(data), "split": split, "output_dir": str(out)}
    run_workflow(str(root / "configs" / "evaluate.yaml"), arguments)
    from ..metrics import interval_text

    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    names = [name for name, score in metrics.items() if isinstance(score, dict) and "ci95" in score]
    rows = [[n, f"{metrics[n]['value']:.4f}", interval_text(metrics[n])] for n in names]
    show_table(f"{metrics['count']} images of the split {split}", ["", "mean", "95 % interval"], rows)
    if metrics["refused"]:
        print(
            f"{len(metrics['refused'])} image(s) could not be scored; they are named in {out / 'metrics.json'}",
            file=sys.stderr,
        )
        raise typer.Exit(1)
