"""``delineate data``: data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import progress, show_refused, show_table

app = typer.Typer(help="Index labelled images; make phantoms.", no_args_is_help=True)


@app.command()
def index(
    source: Annotated[Path, typer.Argument(help="Folder with images and masks, as downloaded.")],
    out: Annotated[Path, typer.Option(help="The data set's folder; datalist.json goes there.")],
    layout: Annotated[str, typer.Option(help="auto, isic, busi or paired.")] = "auto",
    split: Annotated[str, typer.Option(help="Shares of training, validation and test.")] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    classes: Annotated[str | None, typer.Option(help="Keep only these classes, e.g. benign,malignant.")] = None,
) -> None:
    """Find images and masks, check each, split them, and write datalist.json; no image is copied or changed."""
    from ..data.index import index_dataset
    from ..errors import DelineateError

    try:
        fractions = [float(share) for share in split.split(",")]
    except ValueError:
        raise DelineateError(f"--split got {split!r}; give three shares, e.g. 0.7,0.15,0.15") from None
    with progress("reading") as moved:
        report = index_dataset(
            source,
            layout,
            out=out,
            fractions=fractions,
            seed=seed,
            classes=classes.split(",") if classes else None,
            progress=moved,
        )
    show_refused(report.refused)
    print(f"layout: {report.layout}")
    rows = [["split", *pair] for pair in report.splits.items()] + [["class", *pair] for pair in report.classes.items()]
    show_table("images", ["", "", "images"], rows)
    print(f"{report.duplicates} image(s) repeat another pixel by pixel; they share its group")
    print(f"{len(report.refused)} file(s) refused")
    print(f"written: {report.path}")


@app.command()
def phantoms(
    out: Annotated[Path, typer.Option(help="Folder to write images/ and masks/ to.")],
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other images.")] = 0,
) -> None:
    """Draw dermoscopy-like images with their masks, to try things out on."""
    from ..bundles import refuse_occupied
    from ..data.phantoms import write_phantoms

    refuse_occupied(out)
    print(f"written: {write_phantoms(out, count, seed)}")
