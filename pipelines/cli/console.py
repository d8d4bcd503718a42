"""What commands print: results on standard output, progress and refusals on standard error."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ..core.errors import InputError, fate, printable
from ..core.logs import library_loggers

QUIET, NORMAL, VERBOSE = -1, 0, 1
_SELDOM = 60.0  # seconds
_state: dict[str, Any] = {"verbosity": NORMAL, "bar": None}


class _Printer(logging.Handler):
    """Log records: what is to be known on standard output, warnings and errors on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        _print(self.format(record), record.levelno >= logging.WARNING)


def set_verbosity(verbosity: int) -> None:
    """Choose what is printed: refusals and errors alone, what a user wants, or all that libraries say, too."""
    _state["verbosity"] = verbosity
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Printer)]:
        root.removeHandler(handler)
    root.addHandler(_Printer())
    root.setLevel(logging.INFO if verbosity >= VERBOSE else logging.WARNING)
    logging.getLogger("delineate").setLevel(logging.WARNING if verbosity <= QUIET else logging.INFO)
    _tame_libraries()
    if not sys.warnoptions:
        warnings.simplefilter("default" if verbosity >= VERBOSE else "ignore")


def verbosity() -> int:
    """What `set_verbosity` chose."""
    return int(_state["verbosity"])


def _tame_libraries() -> None:
    """MONAI's loggers print by themselves, in a format of their own: let them say what they say through ours."""
    level = logging.NOTSET if verbosity() >= VERBOSE else logging.CRITICAL  # their errors are in our own line
    for logger in library_loggers():
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(level)


def say(line: str) -> None:
    """Print a line about what was done, unless all is to be quiet."""
    if verbosity() > QUIET:
        _print(line, error=False)


def warn(line: str) -> None:
    """Print a line on standard error."""
    _print(line, error=True)


def _print(line: str, error: bool) -> None:
    stream = sys.stderr if error else sys.stdout
    bar: Progress | None = _state["bar"]
    if bar is not None and stream.isatty():
        bar.console.print(Text(line), soft_wrap=True)
    else:
        print(line, file=stream, flush=True)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; where the output is no terminal, tab-separated lines, the first of which names the columns."""
    console = Console()
    if not console.is_terminal:
        for row in [columns, *rows]:
            print("\t".join(str(cell) for cell in row))
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


def show_refused(refused: Sequence[InputError]) -> None:
    """One line a refused, skipped or noted file, on standard error."""
    for error in refused:
        warn(f"{fate(error)}: {error}")


@contextmanager
def progress(description: str, unit: str = "") -> Iterator[Callable[[int, int | None], None]]:
    """A callable ``(done, total)`` that moves a bar with the time left on a terminal, and is silent elsewhere.

    Args:
        description: what is done.
        unit: what is counted, e.g. ``images``: how many a second is shown then, and elsewhere than on a terminal a line
            is printed after a minute, and again whenever another tenth of the time has gone by, at least a minute.
    """
    console = Console(stderr=True)
    if not console.is_terminal or verbosity() <= QUIET:
        yield _seldom(description, unit) if unit and verbosity() > QUIET else lambda done, total: None
        return
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    ]
    columns += [_Speed(unit)] if unit else []
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(description, total=None)
        _state["bar"] = bar
        try:
            yield lambda done, total: bar.update(task, completed=done, total=total)
        finally:
            _state["bar"] = None


class _Speed(ProgressColumn):
    """How many a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g} {self.unit} a second" if task.speed else "", style="progress.data.speed")


def _seldom(description: str, unit: str) -> Callable[[int, int | None], None]:
    began = told = monotonic()
    before = 0

    def moved(done: int, total: int | None) -> None:
        nonlocal told, before
        now = monotonic()
        if now - told < max(_SELDOM, (now - began) / 10) or done <= before or total is None:
            return
        rate = (done - before) / (now - told)
        left = timedelta(seconds=round((total - done) / rate))
        warn(f"{description}: {done} of {total}, {rate:.3g} {unit} a second, {left} left")
        told, before = now, done

    return moved


def monai_line(config_file: str | list[str], arguments: Mapping[str, object], processes: int = 1) -> str:
    """The ``python -m monai.bundle run`` line that does the same, by ``torchrun`` in several processes."""
    program = ["python"] if processes == 1 else ["torchrun", "--standalone", f"--nproc_per_node={processes}"]
    words = [*program, "-m", "monai.bundle", "run", "--config_file", _for_fire(config_file)]
    for name, value in arguments.items():
        words += [f"--{name}", _for_fire(value)]
    return printable(" ".join(shlex.quote(word) for word in words))


def _for_fire(value: object) -> str:
    """What Fire, which reads MONAI's command line, takes for ``value``: to it 2024 is a number and a,b a tuple."""
    from fire.parser import DefaultParseValue

    if isinstance(value, list):
        return json.dumps(value)  # which a shell takes between single quotes as it is
    return str(value) if DefaultParseValue(str(value)) == value else repr(value)


def print_monai_line(config_file: str | list[str], arguments: Mapping[str, object], processes: int = 1) -> None:
    """Print `monai_line` before the workflow starts, where there is MONAI."""
    if find_spec("monai") is None:
        return
    say(monai_line(config_file, arguments, processes))
    import monai.bundle  # noqa: F401 - its loggers are there then

    _tame_libraries()
