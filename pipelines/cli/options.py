"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

BundleOrRun = Annotated[
    str, typer.Argument(metavar="RUN|BUNDLE", help="A run's or bundle's folder, or a shipped bundle's name.")
]
VolumeFormat = Literal["nii.gz", "nii", "nrrd", "mha"]
Dataset = Annotated[Path, typer.Option("--data", help="Folder with datalist.json, made by 'delineate data index'.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Use the bundle although verification has findings: it may then run any code. What is made says so.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="ID=VALUE", help="Set an id of the bundle, e.g. max_epochs=20."),
]
