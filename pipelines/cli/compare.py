"""``delineate compare``: runs on the same images, or networks trained with the same settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..bundling.bundles import find_bundle
from ..core.errors import DelineateError, counted
from ..core.failures import advising
from ..training.runs import parse_settings
from .console import QUIET, print_monai_line, progress, say, set_verbosity, show_table, verbosity, warn
from .options import AllowLeaks, Fold, Loss, Quiet, Settings, Trust, UseUnlabelled, Verbose, bundle_names

_TRAINING, _COMPARING = "Networks trained alike (with --networks)", "Runs or evaluations (without --networks)"

Compared = Annotated[
    list[str],
    typer.Argument(
        metavar="A B ...|BUNDLE",
        help="Two or more runs, bundles or folders of evaluations; with --networks one bundle to train.",
        autocompletion=bundle_names,
    ),
]
On = Annotated[
    Path | None,
    typer.Option(
        "--on",
        metavar="DATASET",
        rich_help_panel=_COMPARING,
        help="Evaluate runs on this data set; with finished evaluations: take the pictures of the page from this data "
        "set.",
    ),
]
ScoredSplit = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_COMPARING,
        help="The split to evaluate on: training, validation, test, or all labelled images.",
        show_default="test; validation with --fold",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Compare this score, a column of per_image.csv; several times for more, all in one family of tests.",
        show_default="mean_dice",
    ),
]
Networks = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        rich_help_panel=_TRAINING,
        help="Train these networks in the bundle, then compare them; 'delineate networks' lists them.",
    ),
]
TrainedOn = Annotated[
    Path | None,
    typer.Option("--data", rich_help_panel=_TRAINING, help="Folder of the data set, made by 'delineate data index'."),
]
Minutes = Annotated[
    float | None, typer.Option(rich_help_panel=_TRAINING, help="Train each network for this many minutes.")
]
Epochs = Annotated[int | None, typer.Option(rich_help_panel=_TRAINING, help="Train each network for this many epochs.")]
Resume = Annotated[
    bool, typer.Option("--resume", rich_help_panel=_TRAINING, help="Continue an interrupted comparison.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder for tables, page and runs or evaluations.", show_default="runs/A_vs_B, or runs/BUNDLE_compare"
    ),
]


def compare(
    bundles: Compared,
    on: On = None,
    split: ScoredSplit = None,
    metric: Metrics = None,
    networks: Networks = None,
    data: TrainedOn = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    loss: Loss = None,
    allow_leaks: AllowLeaks = False,
    use_unlabelled: UseUnlabelled = False,
    resume: Resume = False,
    out: Out = None,
    set_: Settings = None,
    fold: Fold = None,
    trust: Trust = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare runs on the same images; or train several networks with the same settings and compare them.

    Paired differences with intervals and tests, the images in which they differ most, and how many images a difference
    would need. Exit code 1 when a network failed or an image could not be scored.
    """
    training = {"--data": data, "--minutes": minutes, "--epochs": epochs, "--loss": loss}
    training |= {"--allow-leaks": allow_leaks, "--use-unlabelled": use_unlabelled, "--resume": resume}
    _refuse_mixed(bundles, networks, {"--on": on, "--split": split}, training)
    metrics, settings = tuple(metric or ("mean_dice",)), parse_settings(set_ or [])
    if networks is None or data is None:
        _compare_runs(bundles, on, out, metrics, split=split, fold=fold, settings=settings, trust=trust)
        return
    _compare_networks(
        bundles[0],
        data,
        out,
        [name.strip() for name in networks.split(",") if name.strip()],
        minutes=minutes,
        epochs=epochs,
        loss=loss,
        settings=settings,
        fold=fold,
        allow_leaks=allow_leaks,
        use_unlabelled=use_unlabelled,
        resume=resume,
        trust=trust,
        metrics=metrics,
    )


def _refuse_mixed(
    bundles: Sequence[str], networks: str | None, comparing: Mapping[str, Any], training: Mapping[str, Any]
) -> None:
    """See that options are of one of both: the comparison of runs, or of networks to be trained."""
    other = training if networks is None else comparing
    given = [name for name, value in other.items() if value is not None and value is not False]
    if networks is None:
        if given == ["--data"] and len(bundles) > 1:
            raise DelineateError("--data is of --networks; name the data set that runs are compared on with --on")
        if given:
            raise DelineateError(
                f"without --networks A,B nothing is trained: leave out {', '.join(given)}, or name networks; runs are "
                "compared by: delineate compare RUN RUN --on DATASET"
            )
        if len(bundles) < 2:
            raise DelineateError(
                f"{bundles[0]} alone cannot be compared; name two or more runs or evaluations, or with --networks A,B "
                "the networks to train in it"
            )
        return
    if given:
        raise DelineateError(
            f"{', '.join(given)} is of runs that are compared, and --networks trains and scores on the test split of "
            "--data; leave out one of both"
        )
    if len(bundles) > 1:
        raise DelineateError(f"--networks trains in one bundle, and {', '.join(bundles)} are given; name one")
    if not training["--data"]:
        raise DelineateError("--networks trains: name the data set with --data")


def _compare_runs(
    compared: Sequence[str], on: Path | None, out: Path | None, metrics: Sequence[str], **options: Any
) -> None:
    from ..comparison.paired import compare, names_of

    folder = out or Path("runs") / "_vs_".join(names_of(compared))
    with progress("scoring") as moved:
        found = compare(compared, on, folder, metrics=metrics, announce=print_monai_line, on_progress=moved, **options)
    _tell(found, folder)
    if refused := found["refused"]:
        warn(f"{counted(len(refused), 'image')} could not be scored; they are named in {folder / 'comparison.json'}")
        raise typer.Exit(1)


def _tell(found: Mapping[str, Any], folder: Path) -> None:
    """The verdicts and, of several comparisons, a table."""
    from ..comparison.outputs import TITLES, cells

    rows = [*found["comparisons"], *found["exploratory"]]
    if verbosity() > QUIET and len(rows) > 1:
        show_table("paired differences", TITLES, [*map(cells, rows)])
    for row in found["comparisons"]:
        say(row["verdict"])
    for warning in found["warnings"]:
        warn(warning)
    for note in found["notes"]:
        say(note)
    say(f"written: {', '.join(str(folder / f'comparison.{ending}') for ending in ('html', 'md', 'csv', 'json'))}")


def _compare_networks(bundle: str, data: Path, out: Path | None, networks: Sequence[str], **options: Any) -> None:
    from ..comparison.networks import compare_networks
    from ..comparison.table import TITLES, budget_text, cells

    folder = out or Path("runs") / f"{find_bundle(bundle).resolve().name}_compare"
    with advising("go on with the same command and --resume", folder / "compare.json"):
        found = compare_networks(
            bundle,
            data,
            folder,
            networks,
            prepare=partial(set_verbosity, verbosity()),
            announce=print_monai_line,
            **options,
        )
    if verbosity() > QUIET:
        failed = [[name, f"failed: {error}"] for name, error in found.errors.items()]
        show_table(budget_text(found.terms), TITLES, [*map(cells, found.rows), *failed])
    say(f"table: {folder / 'compare.md'}, {folder / 'compare.csv'}")
    if found.paired:
        _tell(found.paired, folder)
    if found.errors or any(row["refused"] for row in found.rows):
        raise typer.Exit(1)
