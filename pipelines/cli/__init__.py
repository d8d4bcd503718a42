"""The command line. Nothing here imports torch or monai before a command needs them."""

from __future__ import annotations

import sys

import typer

from ..errors import known_cause
from . import bundle, data, info
from .demo import demo
from .evaluate import evaluate
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
for command in (train, evaluate, segment, demo, info.networks, info.info):
    app.command()(command)


def main() -> None:
    """Run the command line; an error that the user can mend is one line and exit code 1."""
    try:
        app()
    except Exception as error:
        if (known := known_cause(error)) is None:
            raise
        typer.echo(f"error: {known}", err=True)
        sys.exit(1)
