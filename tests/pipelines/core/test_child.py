from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from delineate.pipelines.core.child import Child, ChildEndedError, ChildError

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
    if word.startswith("pid "):
        with open(word[4:] + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.rename(file.name, word[4:])
        word = "hang"
    if word == "hang":
        time.sleep(60)
    if word == "memory":
        used = b"x" * 2**30
        time.sleep(5)
        return used[:3]
    if word == "addresses":
        import mmap
        return bytes(mmap.mmap(-1, 2**30)[:3])
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


@pytest.mark.parametrize(
    ("word", "reason"),
    [(b"crash", r"crashed or needed too much memory \(SIGABRT\)"), (b"hang", "took longer than 1 s")],
)
def test_what_ends_the_process_is_an_error_and_the_next_request_is_answered(
    program: Path, word: bytes, reason: str
) -> None:
    child = Child(program)
    assert child.ask(b"a")
    with pytest.raises(ChildEndedError, match=reason):
        child.ask(word, patience=1)
    assert child.ask(b"a")


def test_a_process_that_something_else_ends_is_asked_again(program: Path, tmp_path: Path) -> None:
    assert Child(program).ask(f"once {tmp_path / 'mark'}".encode()) == b"at the second try"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_memory_is_limited(program: Path) -> None:
    with pytest.raises(ChildError, match="MemoryError"):
        Child(program, memory=2**29).ask(b"memory")


def test_memory_that_is_used_is_limited_and_addresses_are_not(program: Path) -> None:
    child = Child(program, memory=2**28, resident=True)
    assert child.ask(b"addresses")
    with pytest.raises(ChildEndedError, match="needed more than 256 MiB"):
        child.ask(b"memory")


def test_a_process_may_have_one_try(program: Path, tmp_path: Path) -> None:
    with pytest.raises(ChildEndedError, match="crashed"):
        Child(program, tries=1).ask(f"once {tmp_path / 'mark'}".encode())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with the one that started it")
def test_a_busy_process_ends_with_the_one_that_started_it(program: Path, tmp_path: Path) -> None:
    words = f"Child(Path({str(program)!r}), resident=True).ask(b'pid {tmp_path / 'pid'}')"
    script = f"from pathlib import Path; from delineate.pipelines.core.child import Child; {words}"
    parent = subprocess.Popen([sys.executable, "-c", script])
    while not (tmp_path / "pid").exists():
        time.sleep(0.01)
    busy = psutil.Process(int((tmp_path / "pid").read_text()))
    parent.kill()
    parent.wait()
    busy.wait(10)


def test_signals_to_all_processes_of_a_service_leave_the_answer_to_who_asked(program: Path) -> None:
    child = Child(program, resident=True, tries=1)
    process = psutil.Process(int(child.ask(b"a")))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert int(child.ask(b"a")) == process.pid


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
