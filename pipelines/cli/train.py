"""``delineate train``: compose a run's configuration, run it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..bundles import find_bundle, part
from ..errors import DelineateError
from ..runs import begin_run, check_resumable, parse_settings, settings_of_data
from .console import run_workflow
from .options import Dataset, Settings


def train(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or a shipped bundle's name.")],
    data: Dataset,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/BUNDLE where not given.")] = None,
    network: Annotated[str | None, typer.Option(help="Use this network; see 'delineate networks'.")] = None,
    loss: Annotated[str | None, typer.Option(help="Use this loss: bce, dice or dice_bce.")] = None,
    set_: Settings = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Of a data set with folds: validate on this one.")] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Train although the splits leak; the run's record says so.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was broken off.")] = False,
    compare: Annotated[
        str | None, typer.Option(metavar="NETWORK,...", help="Train these networks alike; OUT gets one table.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="With --compare: each network's time to train.")] = None,
) -> None:
    """Train a bundle; the run is a bundle, too."""
    if (compare is None) != (minutes is None) or (compare and network):
        raise DelineateError("--compare goes with --minutes and without --network: --compare unet,se_unet --minutes 10")
    run = out or Path("runs") / (find_bundle(bundle).resolve().name + ("_compare" if compare else ""))
    if not (data / "datalist.json").is_file():
        raise DelineateError(
            f"{data} has no datalist.json; index the images first: delineate data index SOURCE --out {data}"
        )
    from ..audit.before_training import refuse_leaks

    values = settings_of_data(find_bundle(bundle), data) | parse_settings(set_ or [])
    values |= ({} if fold is None else {"fold": fold}) | ({"allow_leaks": True} if allow_leaks else {})
    if not resume:
        refuse_leaks(data, values.get("allow_leaks", False))  # before anything is made
    if compare is not None and minutes is not None:
        from .compare import compare_networks

        compare_networks(find_bundle(bundle), data, run, compare, minutes, loss, values, resume)
        return
    overlays = [part(kind, name) for kind, name in (("networks", network), ("losses", loss)) if name]
    if resume:
        check_resumable(run, values, overlays)
    else:
        begin_run(find_bundle(bundle), run, values, overlays)
    arguments: dict[str, object] = {"bundle_root": str(run), "dataset_dir": str(data)}
    if resume:
        arguments["resume"] = True
    run_workflow(str(run / "configs" / "train.yaml"), arguments)
    print(f"run: {run}")
