from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.failures import Stopped, advising, in_words


def raised_from(cause: BaseException, error: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.png"),
            "out/a.png: No space left on device; make room",
        ),
        (OSError(errno.EROFS, "Read-only file system", "out"), "out: Read-only file system; name a folder"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300), "a...: File name too long; use shorter names"),
        (FileExistsError(errno.EEXIST, "File exists", "out"), "out: File exists; name another folder"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "a/b: Not a directory; a file is where"),
        (OSError(errno.ENOSPC, "No space left", f"out/.{'0' * 32}.tmp"), "out: No space left; make room"),
        (OSError(errno.EACCES, "Permission denied", "runs/.delineate.0hn92nf6/run/configs"), "runs: Permission denied"),
        (MemoryError(), "out of memory; lower batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory; lower batch_size"),
        (AssertionError("Torch not compiled with CUDA enabled"), "there is no CUDA device here; leave device out"),
        (Stopped(signal.SIGINT), "stopped by Ctrl-C"),
        (Stopped(signal.SIGTERM), "stopped by SIGTERM"),
        (DelineateError("a.png: is empty; copy it again"), "a.png: is empty; copy it again"),
    ],
    ids=str,
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_the_user_can_fix_is_one_line(error: BaseException, words: str, wrapped: bool) -> None:
    line = in_words(raised_from(error, RuntimeError("applying transform")) if wrapped else error)
    assert line is not None
    assert words in line
    assert len(line) < 250
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("name"), OSError("made up"), FileNotFoundError()])
def test_a_bug_stays_a_bug(error: Exception) -> None:
    assert in_words(error) is None


def test_advice_is_given_where_there_is_something_to_go_on_with(tmp_path: Path) -> None:
    for place, advice in ((tmp_path / "missing", ""), (Path(__file__), "; go on with: x --resume")):
        with pytest.raises(Stopped) as stopped, advising("go on with: x --resume", place):
            raise Stopped(signal.SIGTERM)
        assert in_words(stopped.value) == f"stopped by SIGTERM{advice}"


WRITING = """
import signal, sys, time
from delineate.pipelines import cli
from delineate.pipelines.core.files import replacing

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run in the background

def slow() -> None:
    with replacing("a.png") as path:
        path.write_bytes(b"half")
        print("writing", flush=True)
        for _ in range(600):  # a signal just before a long sleep would be seen after it
            time.sleep(0.1)

cli.app = slow
cli.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_one_line_and_no_half_file(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == code
    assert [line[:18] for line in errors.splitlines()] == ["error: stopped by "]
    assert not list(tmp_path.iterdir())
