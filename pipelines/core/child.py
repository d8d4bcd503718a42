"""What a broken file can crash or stretch, in a process of its own with a limit of time and memory.

This file is that process's program, too: it runs another file, which has a function ``answer``, from bytes to bytes. A
program that is to start quickly imports nothing of ours.
"""

from __future__ import annotations

import atexit
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import IO

_HEAD = 9  # bytes before each message: its kind, its length
_DONE, _FAILED = b"+", b"-"
_LOOK = 0.1  # seconds between two looks at the memory of a process
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG, of Linux's prctl


class ChildError(Exception):
    """The process has no answer: it says what went wrong, or it ended."""


class ChildEndedError(ChildError):
    """The process crashed, took too long or needed too much memory."""


class Child:
    """A process that is started when it is first asked, and again where it has ended.

    Args:
        program: the file to run.
        patience: seconds for one answer.
        memory: bytes of addresses that it may have; no limit where the system knows none (Windows).
        resident: limit the memory that it really uses instead, by looking at it: CUDA asks for far more addresses. On
            Linux it then ends together with the thread that started it. It is deaf to SIGTERM.
        tries: how often a request is put to a process that ends instead of answering; another may have ended it.
    """

    def __init__(
        self, program: Path, patience: float = 60.0, memory: int = 2**32, *, resident: bool = False, tries: int = 2
    ) -> None:
        self.program, self.patience, self.memory, self.resident, self.tries = program, patience, memory, resident, tries
        self._one_at_a_time = threading.Lock()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}  # by who started it: a fork must not share the pipes
        atexit.register(self.stop)

    def ask(self, request: bytes, patience: float | None = None) -> bytes:
        """What the program answers.

        Args:
            request: what `answer` gets.
            patience: seconds for this answer, where they are others.

        Raises:
            ChildEndedError: the process ended; the next request is put to another.
            ChildError: it has no answer.
        """
        patience = self.patience if patience is None else patience
        with self._one_at_a_time:
            end = monotonic() + patience
            for left in reversed(range(self.tries)):
                try:
                    kind, reply = self._answer(request, end, patience)
                    break
                except ChildEndedError:
                    if not left or monotonic() >= end:
                        raise
        if kind == _FAILED:
            raise ChildError(reply.decode(errors="replace"))
        return reply

    def _answer(self, request: bytes, end: float, patience: float) -> tuple[bytes, bytes]:
        process, why = self._process(), list[str]()
        try:
            assert process.stdin
            assert process.stdout
            with self._watched(process, end, patience, why):
                _send(process.stdin, _DONE, request)
                return _receive(process.stdout)
        except BaseException as error:  # also Ctrl-C: the answer would be taken for that of the next request
            self.stop()
            if not isinstance(error, OSError | EOFError):
                raise
            memory = "" if self.resident else " or needed too much memory"
            reason = why[0] if why else f"crashed{memory} ({_how(process.returncode)})"
            raise ChildEndedError(f"its process {reason}") from error

    @contextmanager
    def _watched(self, process: subprocess.Popen[bytes], end: float, patience: float, why: list[str]) -> Iterator[None]:
        """Kill the process when it takes too long or too much, and put into ``why`` what it did."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(max(0, min(end - monotonic(), _LOOK if self.resident else patience))):
                if monotonic() >= end:
                    why.append(f"took longer than {patience:.4g} s")
                elif self.resident and _resident_bytes(process.pid) > self.memory:
                    why.append(f"needed more than {self.memory // 2**20} MiB of memory")
                else:
                    continue
                process.kill()
                return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _process(self) -> subprocess.Popen[bytes]:
        process = self._processes.get(os.getpid())
        if process is None or process.poll() is not None:
            here = {"", os.getcwd()}  # a stranger's file there must not pass for a library
            places = [place for place in sys.path if place not in here]
            memory = 0 if self.resident else self.memory
            command = [sys.executable, "-I", __file__, str(self.program), str(memory), *places]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
            self._processes[os.getpid()] = process
        return process

    def kill(self) -> None:
        """End the process from another thread than the one that asks, which has a `ChildEndedError`."""
        if process := self._processes.get(os.getpid()):
            process.kill()

    def stop(self) -> None:
        """End the process, e.g. where its answers can no longer be trusted; the next request starts another."""
        if process := self._processes.pop(os.getpid(), None):
            process.kill()
            process.communicate()


def _how(code: int | None) -> str:
    """How a process ended, by its exit code."""
    with suppress(ValueError, TypeError):
        return signal.Signals(-code).name  # type: ignore[operator]
    return f"exit code {code}"


def _resident_bytes(pid: int) -> int:
    """The memory that a process uses now; 0 where it has ended."""
    import psutil  # not in the process itself

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _send(pipe: IO[bytes], kind: bytes, message: bytes) -> None:
    pipe.write(kind + len(message).to_bytes(_HEAD - 1, "little") + message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    head = pipe.read(_HEAD)
    length = int.from_bytes(head[1:], "little")
    message = pipe.read(length) if len(head) == _HEAD else b""
    if len(head) < _HEAD or len(message) < length:
        raise EOFError
    return head[:1], message


def _serve(program: str, memory: int) -> None:
    """Answer until there are no more requests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts both: who asks ends this process
    _limit(memory) if memory else _end_with_parent()
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    answer: Callable[[bytes], bytes] = runpy.run_path(program)["answer"]
    while True:
        try:
            _, request = _receive(source)
        except EOFError:
            return
        try:
            kind, reply = _DONE, answer(request)
        except Exception as error:
            kind, reply = _FAILED, (str(error).strip() or type(error).__name__).splitlines()[-1].encode()
        _send(sink, kind, reply)


def _limit(memory: int) -> None:
    try:
        import resource
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        try:
            resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
        except (OSError, ValueError):  # macOS knows the first and refuses it
            continue


def _end_with_parent() -> None:
    """Not before, though a service manager tells all processes of a service to end; at once only on Linux."""
    import ctypes

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)


if __name__ == "__main__":
    sys.path += sys.argv[3:]
    _serve(sys.argv[1], int(sys.argv[2]))
