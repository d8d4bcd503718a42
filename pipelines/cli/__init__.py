"""The command line. Nothing here imports torch or monai before a command needs them."""

from __future__ import annotations

import io
import sys
import traceback
from typing import Annotated

import typer

from ..core.errors import ComponentError
from ..core.failures import Stopped, in_words, signals_stop
from ..core.versions import own_version
from . import bundle, data, info, node
from .compare import compare
from .console import NORMAL, VERBOSE, set_verbosity, verbosity
from .cross_validate import cross_validate
from .demo import demo
from .evaluate import evaluate
from .export import export
from .full import need_full, panel
from .options import Quiet, Verbose
from .segment import segment
from .train import train
from .tune import tune

app = typer.Typer(
    name="delineate",
    help="Outline lesions, organs and nerves in 2D medical images, with networks that you train as MONAI bundles.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(chosen: bool) -> None:
    if chosen:
        print(f"delineate {own_version()}")
        raise typer.Exit


@app.callback()
def _settings(
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if not quiet and not verbose:
        set_verbosity(NORMAL)


app.add_typer(data.app, name="data")
app.add_typer(bundle.app, name="bundle")
app.add_typer(node.app, name="node", rich_help_panel=panel())
for command in (train, cross_validate, compare, evaluate, segment, export, tune, demo, info.networks, info.info):
    app.command()(command)
need_full(app, "segment", "info")
need_full(bundle.app, "list", "verify", "update")
need_full(data.app, "download")
need_full(node.app)


def main() -> None:
    """Run the command line; an error that the user can fix is one line and its exit code, 1 or, of a configuration, 2.

    Ctrl-C and SIGTERM are one line, too, and exit code 130 or 143.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no UTF-8, a terminal's encoding ASCII
    try:
        with signals_stop():
            app()
    except (Exception, Stopped) as error:
        if (line := in_words(error)) is None:
            raise
        if isinstance(error, ComponentError) and verbosity() >= VERBOSE:
            traceback.print_exception(error)
        typer.echo(f"error: {line}", err=True)
        sys.exit(getattr(error, "exit_code", 1))
