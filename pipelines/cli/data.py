"""``delineate data``: data sets downloaded, indexed, cut, split and looked at."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..core.errors import DelineateError, counted, fate
from .audit import audit
from .console import QUIET, progress, say, show_refused, show_table, verbosity, warn
from .download import download
from .options import Quiet
from .split import parse_numbers, split

app = typer.Typer(
    help="Prepare labelled images: download, index, split and audit them, cut volumes into slices, draw phantoms.",
    no_args_is_help=True,
)
for command in (download, split, audit):
    app.command()(command)

Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder with the images and masks, as downloaded.")]
Out = Annotated[Path, typer.Option(help="Folder to create for the data set: datalist.json is written there.")]
Shares = Annotated[str, typer.Option("--split", help="Shares of the images for training, validation and test.")]
Seed = Annotated[int, typer.Option(help="Seed of the random split.")]
Structures = Annotated[
    list[str] | None,
    typer.Option(
        "--structure",
        metavar="NAME=VALUES",
        help="Where masks hold several structures: the values of one, e.g. nerve=1 or disc=1,2; repeatable.",
    ),
]
Corrected = Annotated[
    bool,
    typer.Option(
        "--corrected",
        help="Take masks that Delineate drew (results.csv names them) as labels: a person has corrected each of them.",
    ),
]
Folds = Annotated[int | None, typer.Option(min=2, help="Split training and validation images into this many folds.")]

SHARES = "0.7,0.15,0.15"


@app.command()
def index(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Folder with the images and masks, as downloaded; several become one data set."
        ),
    ],
    out: Out,
    layout: Annotated[
        str,
        typer.Option(
            help="Kind of source: auto, isic, busi, busbra, stu, kvasir, jsrt, nerve, hc18, ph2, paired, csv, dicom or "
            "nifti."
        ),
    ] = "auto",
    shares: Shares = SHARES,
    seed: Seed = 0,
    folds: Folds = None,
    classes: Annotated[str | None, typer.Option(help="Keep only these classes, e.g. benign,malignant.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Mask values (grey values or palette indices) that are foreground, e.g. 1,2.")
    ] = None,
    structure: Structures = None,
    missing: Annotated[
        Literal["not-annotated", "empty"],
        typer.Option(
            help="What it means that an image lacks a file of a structure: nobody annotated it, or there is none of it."
        ),
    ] = "not-annotated",
    resize_masks: Annotated[
        bool,
        typer.Option(
            "--resize-masks",
            help="Resize masks whose size is not their image's, by nearest pixel, instead of refusing them.",
        ),
    ] = False,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled",
            help="Keep images that have no mask, for 'delineate train --use-unlabelled', instead of refusing them.",
        ),
    ] = False,
    corrected: Corrected = False,
    group_by_folder: Annotated[
        bool,
        typer.Option("--group-by-folder", help="Keep all images of a SOURCE in one split: each folder is a patient's."),
    ] = False,
    near_duplicates: Annotated[
        bool, typer.Option(help="Keep images that look alike in one split; equal ones always stay together.")
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Find images and masks, check and split them, and write datalist.json; no image is copied or changed."""
    chosen = classes.split(",") if classes else None
    options: dict[str, Any] = {
        "classes": chosen,
        "labels": _values(labels),
        "structures": _structures(structure),
        "missing": missing.replace("-", " "),
        "resize_masks": resize_masks,
        "near_duplicates": near_duplicates,
        "unlabelled": unlabelled,
        "corrected": corrected,
        "group_by_folder": group_by_folder,
    }
    if not index_and_show(sources, layout, out, shares, seed=seed, folds=folds, **options):
        raise typer.Exit(1)


@app.command()
def slices(
    source: Source,
    out: Out,
    axis: Annotated[
        Literal["axial", "sagittal", "coronal"], typer.Option(help="The planes in which slices are cut.")
    ] = "axial",
    window: Annotated[
        list[str] | None,
        typer.Option(
            help="Grey values: CT preset (abdomen, lung, ...), CENTRE,WIDTH, LOW%,HIGH% or auto; once, or per modality."
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Label values that are foreground, e.g. 1,2; without it, all but 0.")
    ] = None,
    structure: Structures = None,
    neighbours: Annotated[
        int,
        typer.Option(min=0, help="Number of slices on either side that are given to the network as further channels."),
    ] = 0,
    empty: Annotated[Literal["keep", "drop"], typer.Option(help="Keep or drop slices without foreground.")] = "keep",
    write: Annotated[
        bool, typer.Option("--write", help="Write the slices into OUT as PNG files, and train on these.")
    ] = False,
    corrected: Corrected = False,
    layout: Annotated[str, typer.Option(help="Kind of source: auto, nifti or dicom.")] = "auto",
    shares: Shares = SHARES,
    seed: Seed = 0,
    folds: Folds = None,
    quiet: Quiet = False,
) -> None:
    """Cut CT and MR volumes into slices and index these; all slices of a patient stay in one split."""
    from ..datasets.slices import write_slices
    from ..imaging.volumes.slicing import Slicing

    slicing = Slicing(axis, window if window and len(window) > 1 else (window or ["auto"])[0], neighbours)
    complete = index_and_show(
        [source],
        layout,
        out,
        shares,
        seed=seed,
        folds=folds,
        slicing=slicing,
        drop_empty=empty == "drop",
        labels=_values(labels),
        structures=_structures(structure),
        corrected=corrected,
    )
    if write:
        say(f"{write_slices(out)} slices written to {out / 'images'}")
    if not complete:
        raise typer.Exit(1)


@app.command()
def phantoms(
    out: Annotated[Path, typer.Option(help="Folder to create for the images and masks.")],
    kind: Annotated[
        Literal["skin", "chest", "ct"],
        typer.Option(help="What to draw: dermoscopy pictures, chest X-rays of five structures, or CT volumes."),
    ] = "skin",
    count: Annotated[int, typer.Option(min=1, help="How many images or volumes to draw.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawing: another seed, other images.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Draw artificial images or volumes with their masks, to try Delineate without data of your own."""
    from ..bundling.bundles import refuse_occupied
    from ..phantoms.chest import write_chest_phantoms
    from ..phantoms.images import write_phantoms
    from ..phantoms.volumes import write_phantom_volumes

    refuse_occupied(out)
    write = {"skin": write_phantoms, "chest": write_chest_phantoms, "ct": write_phantom_volumes}[kind]
    say(f"written: {write(out, count, seed)}")


def _values(labels: str | None) -> list[int] | None:
    return parse_numbers("--labels", labels, int, "whole numbers, e.g. 1,2") if labels else None


def _structures(words: list[str] | None) -> dict[str, list[int]] | None:
    """Structures and their values from ``NAME=VALUES``."""
    found: dict[str, list[int]] = {}
    for word in words or []:
        name, equals, values = word.partition("=")
        if not equals or name.strip() in found:
            raise DelineateError(f"--structure got {word!r}; give each name once, with its values, e.g. disc=1,2")
        found[name.strip()] = parse_numbers("--structure", values, int, "NAME=VALUES, e.g. disc=1,2")
    return found or None


def _drafts(sources: list[Path]) -> str:
    segment = f"delineate segment RUN {shlex.join(map(str, sources))} --out PREDICTIONS"
    return f"{segment} makes drafts of them, each of which a person has to correct"


def _duplicates(equal: int, alike: int) -> str:
    exact = counted(equal, "exact duplicate")
    near = counted(alike, "pair of similar images", "pairs of similar images")
    return f"{exact}, {near}; each stays in one split with its original (see 'delineate data audit')"


def _for_split(split: str, groups: int, first: bool) -> str:
    """``1 patient or image for validation``; the words in the middle only ``first``."""
    what = (" patient or image" if groups == 1 else " patients or images") if first else ""
    return f"{groups}{what} for {'the test' if split == 'test' else f'fold {split}' if split.isdigit() else split}"


def index_and_show(sources: list[Path], layout: str, out: Path, shares: str = SHARES, **options: Any) -> bool:
    """Index and print what was found; whether nothing was refused."""
    from ..datasets.index import index_dataset
    from ..datasets.layouts.base import NO_MASK

    fractions = parse_numbers("--split", shares, float, "three shares, e.g. 0.7,0.15,0.15")
    with progress("reading") as moved:
        report = index_dataset(sources, layout, out=out, fractions=fractions, progress=moved, **options)
    show_refused(report.refused)
    if bare := sum(error.reason == NO_MASK for error in report.refused):
        say(f"{counted(bare, 'image')} without a mask; --unlabelled keeps them, for 'delineate train --use-unlabelled'")
    say(f"layout: {report.layout} ({report.reason})")
    if verbosity() > QUIET:
        show_table("images", ["split", "images"], [[*pair] for pair in report.splits.items()])
        if report.classes:
            show_table("images", ["class", "images"], [[*pair] for pair in report.classes.items()])
        if report.structures:
            rows = [[name, *numbers] for name, numbers in report.structures.items()]
            show_table("images", ["structure", "shown", "empty", "not annotated"], rows)
    for note in report.notes:
        say(note)
    if report.unlabelled:
        say(f"{counted(report.unlabelled, 'image')} without label, in no split")
        if not any(report.splits.values()):
            say(f"nothing can be trained on: add masks beside the images; {_drafts(sources)}")
    say(_duplicates(report.duplicates, report.near_duplicates))
    if report.few:
        few = ", ".join(_for_split(split, number, i == 0) for i, (split, number) in enumerate(report.few.items()))
        warn(f"warning: too few images for meaningful scores: {few}; add images (patients), or change --split")
    for move in report.moved:
        say(f"moved: group {move.group} was in {', '.join(move.old)}, is in {move.new}")
    fates = Counter(map(fate, report.refused))
    say(f"{fates['refused']} refused, {fates['skipped']} skipped")
    say(f"written: {report.path}")
    return not fates["refused"]
