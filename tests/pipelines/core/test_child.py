from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from delineate.pipelines.core.child import Child, ChildError

PROGRAM = """
import os, sys, time

def answer(request):
    word = request.decode()
    if word == "crash":
        os.abort()
    if word.startswith("once "):
        if not os.path.exists(word[5:]):
            open(word[5:], "w").close()
            os.abort()
        return b"at the second try"
    if word == "hang":
        time.sleep(60)
    if word == "memory":
        return bytes(2**30)[:3]
    if word == "error":
        raise ValueError("first line\\nlast line")
    if word == "print":
        print("not an answer", flush=True)
    if word == "long":
        return b"x" * 10_000_000
    return str(os.getpid()).encode()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "program.py"


def test_one_process_answers_request_after_request(program: Path) -> None:
    child = Child(program)
    assert child.ask(b"a") == child.ask(b"print") != str(os.getpid()).encode()
    assert len(child.ask(b"long")) == 10_000_000


def test_an_error_is_told_and_the_process_goes_on(program: Path) -> None:
    child = Child(program)
    before = child.ask(b"a")
    with pytest.raises(ChildError, match="last line"):
        child.ask(b"error")
    assert child.ask(b"a") == before


@pytest.mark.parametrize("word", [b"crash", b"hang"])
def test_what_ends_the_process_is_an_error_and_the_next_request_is_answered(program: Path, word: bytes) -> None:
    child = Child(program)
    assert child.ask(b"a")
    child.patience = 1
    with pytest.raises(ChildError, match="crashed, took too long"):
        child.ask(word)
    child.patience = 60
    assert child.ask(b"a")


def test_a_process_that_something_else_ends_is_asked_again(program: Path, tmp_path: Path) -> None:
    assert Child(program).ask(f"once {tmp_path / 'mark'}".encode()) == b"at the second try"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_memory_is_limited(program: Path) -> None:
    with pytest.raises(ChildError, match="MemoryError"):
        Child(program, memory=2**29).ask(b"memory")


def test_a_file_in_the_working_folder_passes_for_no_library(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text("")
    program.write_text("def answer(request):\n    import planted\n    return b''\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ChildError, match="planted"):
        Child(program).ask(b"a")
