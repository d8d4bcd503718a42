"""What commands print: rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ..errors import InputError, SkippedError, printable


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; tab-separated lines where the output is not a terminal."""
    console = Console()
    if not console.is_terminal:
        for row in rows:
            print("\t".join(str(cell) for cell in row))
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def show_refused(refused: Sequence[InputError]) -> None:
    """One line a refused or skipped file, on standard error."""
    for error in refused:
        print(f"{'skipped' if isinstance(error, SkippedError) else 'refused'}: {error}", file=sys.stderr, flush=True)


@contextmanager
def progress(description: str) -> Iterator[Any]:
    """A callable ``(done, total)`` that moves a bar on a terminal and is silent elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def monai_line(config_file: str, arguments: Mapping[str, object]) -> str:
    """The ``python -m monai.bundle run`` line that does the same."""
    words = ["python", "-m", "monai.bundle", "run", "--config_file", _for_fire(config_file)]
    for name, value in arguments.items():
        words += [f"--{name}", _for_fire(value)]
    return printable(" ".join(shlex.quote(word) for word in words))


def _for_fire(value: object) -> str:
    """What Fire, which reads MONAI's command line, takes for ``value``: to it 2024 is a number and a,b a tuple."""
    from fire.parser import DefaultParseValue

    return str(value) if DefaultParseValue(str(value)) == value else repr(value)


def print_monai_line(config_file: str, arguments: Mapping[str, object]) -> None:
    """Print `monai_line` before the workflow starts."""
    print(monai_line(config_file, arguments), flush=True)
