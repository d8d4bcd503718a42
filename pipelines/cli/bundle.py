"""``delineate bundle``: list, make, verify and update bundles."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from ...installation import has_torch
from ..bundling.bundles import NO_BUNDLES, choices, find_bundle, has_weights, new_bundle, shipped_bundles
from ..bundling.gate import admit
from ..bundling.own_tasks import write_own_task
from ..bundling.rebuilt import rebuild_bundle
from ..bundling.settings import structures_in
from ..core.errors import DelineateError, counted, printable
from ..training.runs import parse_settings
from .console import say, show_table
from .options import Dataset, Quiet, Settings, Threshold, Trust
from .thresholds import parse_thresholds

app = typer.Typer(help="List the shipped bundles; make, verify and update bundles of your own.", no_args_is_help=True)


@app.command("list")
def list_(quiet: Quiet = False) -> None:
    """List the shipped bundles, and the tasks, networks and losses that a bundle can be made of."""
    if not has_torch():
        say(NO_BUNDLES)
        return
    shipped = shipped_bundles()
    metadata = {
        name: json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        for name, folder in shipped.items()
    }
    ready = [name for name, folder in shipped.items() if has_weights(folder)]
    rows = [
        [name, told["description"], "ready to segment" if name in ready else "none, train it"]
        for name, told in metadata.items()
    ]
    show_table("bundles", ["name", "what it does", "weights"], rows)
    for name in ready:
        card = shipped[name] / "docs" / "README.md"
        say(f"at once: delineate segment {name} IMAGES --out MASKS; its model card: {card}")
    for kind in ("tasks", "networks", "losses"):
        print(f"{kind}: {', '.join(choices(kind))}")


@app.command()
def new(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create.")],
    task: Annotated[
        str | None, typer.Option(help="One of the shipped tasks; 'delineate bundle list' names them.")
    ] = None,
    structures: Annotated[
        str | None, typer.Option(help="Instead of --task: what to outline, e.g. wound; several with commas between.")
    ] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="With --structures: no pixel belongs to two of them, as in a label map.")
    ] = False,
    channels: Annotated[
        Literal["rgb", "grey"] | None,
        typer.Option(help="With --structures: whether images are read in colour or in grey."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --structures: the bundle's name in its documents.")] = None,
    description: Annotated[str | None, typer.Option(help="With --structures: one sentence about the bundle.")] = None,
    modality: Annotated[
        str | None, typer.Option(help="With --structures: how the images are acquired, e.g. dermoscopy.")
    ] = None,
    network: Annotated[str, typer.Option(help="The network; 'delineate networks' lists them.")] = "efficient_lite_unet",
    loss: Annotated[
        str,
        typer.Option(
            help="The loss: dice, dice_bce, tversky_focal, boundary; bce where structures overlap, ce with --exclusive."
        ),
    ] = "dice_bce",
    set_: Settings = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="With --task: build the bundle in FOLDER anew; its weights and their card stay."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Make a bundle, without weights, to train on your own data: for a shipped task or a structure of your own."""
    settings = parse_settings(set_ or [])
    own = {"--channels": channels, "--name": name, "--description": description, "--modality": modality}
    own["--exclusive"] = "yes" if exclusive else None
    if replace and (task is None or settings):
        raise DelineateError("--replace builds a bundle as its --task has it: give --task, and leave out --set")
    if (task is None) == (structures is None):
        raise DelineateError("say what is outlined: --task skin_lesion, or --structures wound --channels rgb")
    if task is not None:
        if given := [option for option, value in own.items() if value is not None]:
            raise DelineateError(f"{', '.join(given)} go with --structures, not with --task")
        built = (
            rebuild_bundle(out, task, network, loss)
            if replace
            else new_bundle(out, task, network, loss, settings=settings)
        )
        say(f"written: {built}")
        return
    if structures is None or channels is None:
        raise DelineateError("--structures goes with --channels: rgb for colour images, grey for others")
    with TemporaryDirectory() as draft:
        own_task = write_own_task(Path(draft) / "task", structures, channels, name, description, modality, exclusive)
        say(f"written: {new_bundle(out, own_task, network, loss, settings=settings)}")


@app.command()
def ensemble(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create.")],
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Two or more runs or bundles with weights.")],
    threshold: Threshold = None,
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Put runs together as one bundle, whose probabilities are the mean of theirs; their networks may differ."""
    from ..bundling.ensemble import make_ensemble

    first = admit(runs[0], trust)
    chosen = parse_thresholds(threshold or [], structures_in(first.folder))
    made = make_ensemble([first, *runs[1:]], out, threshold=chosen, trust=trust)
    say(f"written: {printable(made)}, an ensemble of {len(runs)}")


@app.command()
def familiarity(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run or bundle with weights.")],
    data: Dataset,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Of a data set with folds, the validation; the run's own by default.")
    ] = None,
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Learn what images a network knows, from those that it was trained with, so that others are flagged.

    A training does this itself when it ends; this is for runs of earlier versions.
    """
    from ..training.familiarity import learn_familiarity

    say(f"written: {printable(learn_familiarity(run, data, fold, trust))}")


@app.command()
def publish(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run with weights.")],
    out: Annotated[
        Path, typer.Option(help="Folder to create; or a bundle, which keeps its configuration and gets these weights.")
    ],
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(help="An evaluation of these weights, or a cross-validation, for the model card; repeatable."),
    ] = None,
    notes: Annotated[
        Path | None,
        typer.Option(help="YAML with what only a person can say: intended use, data and licences, worst cases ..."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The data set of the training, where it is no longer where the run's record says."),
    ] = None,
    half: Annotated[
        bool, typer.Option(help="Store the weights in half precision, in half the space; evaluate what comes of it.")
    ] = False,
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Make a bundle to pass on: configuration, weights, what they have seen, and a model card of their scores."""
    from ..publishing.publish import publish_bundle

    published = publish_bundle(run, out, evaluation or [], notes, data, trust, half)
    say(f"written: {printable(published)}; its model card is in docs/README.md")


@app.command()
def verify(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Folder of a bundle or run, or the name of a shipped bundle.")
    ],
    quiet: Quiet = False,
) -> None:
    """Check, without running it, that a bundle holds no code, names only allowed classes and has weights as listed."""
    from ..bundling.verify import verify_bundle

    folder = find_bundle(bundle) if not Path(bundle).is_dir() else Path(bundle)
    findings = verify_bundle(folder)
    for finding in findings:
        print(finding)
    say(f"{printable(folder)}: {counted(len(findings), 'finding') if findings else 'passes'}")
    if findings:
        raise typer.Exit(1)


@app.command()
def update(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle or run of an earlier version.")
    ],
    quiet: Quiet = False,
) -> None:
    """Bring a bundle of an earlier version up to date: what has moved is renamed, what is new is added."""
    from ..bundling.update import update_bundle

    for change in update_bundle(bundle):
        say(change)
    say(f"updated: {printable(bundle)}; 'delineate bundle verify' checks it")
