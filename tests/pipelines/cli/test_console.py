from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

from delineate.pipelines.cli import console
from delineate.pipelines.cli.console import NORMAL, QUIET, VERBOSE, say, set_verbosity, show_table, warn


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
