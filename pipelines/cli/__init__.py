"""The command line. Nothing here imports torch or monai before a command needs them."""

from __future__ import annotations

import sys

import typer

from ..failures import Stopped, in_words, signals_stop
from . import bundle, data, info
from .demo import demo
from .evaluate import evaluate
from .export import export
from .segment import segment
from .train import train

app = typer.Typer(
    name="delineate",
    help="Outlines lesions, organs and nerves in 2D medical images, with MONAI bundles.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.add_typer(bundle.app, name="bundle")
for command in (train, evaluate, segment, export, demo, info.networks, info.info):
    app.command()(command)


def main() -> None:
    """Run the command line; an error that the user can fix is one line and exit code 1.

    Ctrl-C and SIGTERM are one line, too, and exit code 130 or 143.
    """
    try:
        with signals_stop():
            app()
    except (Exception, Stopped) as error:
        if (line := in_words(error)) is None:
            raise
        typer.echo(f"error: {line}", err=True)
        sys.exit(error.exit_code if isinstance(error, Stopped) else 1)
