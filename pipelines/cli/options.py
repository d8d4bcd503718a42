"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .console import QUIET, VERBOSE, set_verbosity


def bundle_names(incomplete: str) -> list[str]:
    """The shipped bundles that begin so."""
    from ..bundling.bundles import shipped_bundles

    return [name for name in shipped_bundles() if name.startswith(incomplete)]


def _choose_quiet(chosen: bool) -> bool:
    if chosen:
        set_verbosity(QUIET)
    return chosen


def _choose_verbose(chosen: bool) -> bool:
    if chosen:
        set_verbosity(VERBOSE)
    return chosen


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_choose_quiet, help="Print only refused inputs, warnings and errors."),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", callback=_choose_verbose, help="Also print the messages of MONAI and other libraries."
    ),
]

BundleOrRun = Annotated[
    str,
    typer.Argument(
        metavar="RUN|BUNDLE",
        help="Folder of a run or bundle, or the name of a shipped bundle.",
        autocompletion=bundle_names,
    ),
]
AsEnsemble = Annotated[
    bool,
    typer.Option("--ensemble", help="Name several runs: the mean of their probabilities is taken, as of an ensemble."),
]
Dataset = Annotated[Path, typer.Option("--data", help="Folder of the data set, made by 'delineate data index'.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Use the bundle even if verification has findings: it may then run any code; results are marked.",
    ),
]
Tta = Annotated[
    Literal["flips", "rotations"] | None,
    typer.Option(
        help="Mean of the probabilities of several views of an image, of the kinds used as augmentation in training: "
        "mirrored (flips), or turned by 90, 180 and 270 degrees (rotations). Up to four times as slow.",
        show_default=False,
    ),
]
Backend = Annotated[
    Literal["auto", "torch", "onnxruntime", "openvino", "onnxruntime-int8", "openvino-int8"] | None,
    typer.Option(
        help="What computes the network; auto is the fastest on this machine, measured once. Without it, the bundle's "
        "own, which is torch unless set.",
        show_default=False,
    ),
]
Threshold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]PROBABILITY",
        help="Probability from which a pixel is foreground, of all structures or, e.g. heart=0.3, of one; may be "
        "repeated; without it, the bundle's.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the bundle, e.g. max_epochs=20."),
]
InferenceSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the bundle, e.g. precision=float32."),
]
Bundle = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE",
        help="Folder of a bundle, or the name of a shipped bundle.",
        autocompletion=bundle_names,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        help="Use this loss instead of the bundle's: bce, dice, dice_bce, tversky_focal or boundary; "
        "ce for exclusive structures."
    ),
]
Fold = Annotated[int | None, typer.Option(min=0, help="Validate on this fold, in a data set with folds.")]
UseUnlabelled = Annotated[
    bool, typer.Option("--use-unlabelled", help="Also learn from the images of the data set that have no mask.")
]
AllowLeaks = Annotated[
    bool,
    typer.Option(
        "--allow-leaks",
        help="Train even if images of one patient, or duplicates, are in several splits; the run's record says so.",
    ),
]
