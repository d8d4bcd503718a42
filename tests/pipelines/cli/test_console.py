from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from delineate.pipelines.cli import app, console
from delineate.pipelines.cli.console import NORMAL, QUIET, VERBOSE, say, set_verbosity, show_refused, show_table, warn
from delineate.pipelines.core.errors import InputError, NotedError, SkippedError


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("delineate")
    levels = root.level, ours.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, console._Printer)]
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    console._state["verbosity"] = NORMAL


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from leaves(below, (*words, name))


def test_every_command_has_quiet() -> None:
    without = [words for words, command in leaves(get_command(app)) if not any("-q" in p.opts for p in command.params)]
    assert without == []


@pytest.mark.parametrize("before", [True, False], ids=["before the command", "after it"])
def test_a_quiet_command_prints_nothing_of_what_it_did(tmp_path: Path, before: bool) -> None:
    words = ["data", "phantoms", "--count", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["-q", *words] if before else [*words, "-q"])
    assert (result.exit_code, result.output) == (0, "")


def test_a_quiet_command_prints_what_it_exists_to_print() -> None:
    assert "skin_lesion" in CliRunner().invoke(app, ["-q", "bundle", "list"]).output


@pytest.mark.parametrize(("kind", "word"), [(InputError, "refused"), (SkippedError, "skipped"), (NotedError, "note")])
def test_what_is_said_of_a_file_begins_with_its_fate(
    kind: type[InputError], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_refused([kind("a.png", "is odd", "look")])
    assert capsys.readouterr().err == f"{word}: a.png: is odd; look\n"


@pytest.mark.parametrize(
    ("verbosity", "out", "err"),
    [
        (QUIET, "", "refused\nour warning\n"),
        (NORMAL, "done\nours\n", "refused\nour warning\n"),
        (VERBOSE, "done\nours\ntheirs\n", "refused\nour warning\ntheir warning\n"),
    ],
    ids=["quiet", "normal", "verbose"],
)
def test_each_verbosity_prints_what_it_says(
    verbosity: int, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_verbosity(verbosity)
    say("done")
    warn("refused")
    for name, text in (("delineate.x", "our"), ("monai.x", "their")):
        logging.getLogger(name).info(f"{text}s")
        logging.getLogger(name).warning(f"{text} warning")
    assert capsys.readouterr() == (out, err)


def test_what_a_library_warns_of_is_told_to_the_verbose() -> None:
    with warnings.catch_warnings(record=True) as told:
        for verbosity in (NORMAL, VERBOSE):
            set_verbosity(verbosity)
            warnings.warn(f"at {verbosity}", UserWarning, stacklevel=1)
    assert [str(each.message) for each in told] == [f"at {VERBOSE}"]


def test_a_library_that_prints_by_itself_does_so_no_longer(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("monai.prints.by.itself")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    set_verbosity(NORMAL)
    logger.info("parsing")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("library", ["monai", "ignite"])
def test_an_error_that_a_library_logs_is_left_to_our_own_line(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_verbosity(NORMAL)
    logging.getLogger(f"{library}.engine").error("Engine run is terminating due to exception")
    assert capsys.readouterr() == ("", "")


def test_a_table_in_a_pipe_names_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("title", ["name", "dice"], [["unet", 0.9]])
    assert capsys.readouterr().out == "name\tdice\nunet\t0.9\n"


# progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(console, "monotonic", lambda: now[0])
    return now


def work(clock: list[float], seconds: int, unit: str = "images") -> None:
    """Two images a second."""
    with console.progress("segmenting", unit) as moved:
        for done in range(2 * seconds):
            clock[0] = done / 2
            moved(done, 4 * seconds)


def test_elsewhere_than_on_a_terminal_progress_is_a_line_a_minute_then_fewer(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    work(clock, 3600)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "segmenting: 120 of 14400, 2 images a second, 1:59:00 left"
    assert 20 < len(lines) < 35


@pytest.mark.parametrize(
    ("seconds", "unit", "verbosity"), [(50, "images", NORMAL), (600, "", NORMAL), (600, "images", QUIET)]
)
def test_short_work_and_quiet_commands_tell_no_progress(
    clock: list[float], capsys: pytest.CaptureFixture[str], seconds: int, unit: str, verbosity: int
) -> None:
    set_verbosity(verbosity)
    work(clock, seconds, unit)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_progress_tells_the_speed(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(force_terminal=True, width=120, file=io.StringIO(), get_time=lambda: clock[0])
    monkeypatch.setattr(console, "Console", lambda **_: shown)
    work(clock, 100)
    assert "2 images a second" in shown.file.getvalue()  # type: ignore[attr-defined]
