"""``delineate data download``: public data sets."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import DelineateError, InputError, UnknownNameError, counted
from .console import progress, say, show_refused
from .options import Quiet

if TYPE_CHECKING:
    from ..downloads.catalogue import RemoteDataset


def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set: isic2018, busi, hc18 or nerve.")],
    out: Annotated[Path | None, typer.Option(help="Folder to download to.", show_default="data/NAME")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licence without being asked.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show a public data set's licence and, once you accept it, download, check and unpack the data.

    An interrupted download continues when the command is given again.
    """
    from ..downloads.archives import require_space
    from ..downloads.catalogue import DATASETS
    from ..downloads.download import obtain, space_needed

    if name not in DATASETS:
        raise UnknownNameError("data set", name, DATASETS)
    dataset, folder = DATASETS[name], out or Path("data", name)
    _show(dataset)
    index = f"delineate data index {shlex.quote(str(folder))} --out {shlex.quote(f'{folder}-dataset')}"
    if dataset.account:
        print(f"\nAn account is needed, so nothing was downloaded. Do this:\n{dataset.account.format(folder=folder)}")
        print(f"\nnext: {index}")
        raise typer.Exit(1)  # a script must not go on as if the images were there
    _require_consent(yes)
    folder.mkdir(parents=True, exist_ok=True)
    require_space(folder, space_needed(dataset.files, folder))
    refused = 0
    for file in dataset.files:
        try:
            with progress(file.name) as moved:
                done = obtain(file, folder, progress=moved)
            say(f"{file.name}: {done}")
        except InputError as error:
            show_refused([error])
            refused += 1
    if refused:
        raise DelineateError(f"{refused} of {counted(len(dataset.files), 'file')} refused; the rest is in {folder}")
    say(f"next: {index}")


def _show(dataset: RemoteDataset) -> None:
    size = "not known" if dataset.size is None else f"{dataset.size / 1e9:.2f} GB"
    print(f"{dataset.title}\n{dataset.page}\nlicence: {dataset.licence}\nterms: {dataset.terms}")
    print("\n".join(f"cite: {work}" for work in dataset.citation))
    print(f"size: {size}", flush=True)


def _require_consent(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise DelineateError("there is no terminal to ask on; read the terms above, then accept them with --yes")
    if not typer.confirm("Do you accept the licence and the terms?"):
        raise DelineateError("the terms were not accepted; nothing was downloaded")
