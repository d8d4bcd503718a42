"""Libraries that a broken file can crash, each in a process of its own with a limit of time and memory.

This file is that process's program, too: it runs another file, which imports nothing of ours and has a function
``answer``, from bytes to bytes.
"""

from __future__ import annotations

import atexit
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import IO

_HEAD = 9  # bytes before each message: its kind, its length
_DONE, _FAILED = b"+", b"-"


class ChildError(Exception):
    """The process crashed, took too long, needed too much memory, or says what went wrong."""


class Child:
    """A process that is started when it is first asked, and again where it has ended.

    Args:
        program: the file to run.
        patience: seconds for one answer.
        memory: bytes of addresses that it may have; no limit where the system knows none (Windows).
    """

    def __init__(self, program: Path, patience: float = 60.0, memory: int = 2**32) -> None:
        self.program, self.patience, self.memory = program, patience, memory
        self._one_at_a_time = threading.Lock()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}  # by who started it: a fork must not share the pipes
        atexit.register(self.stop)

    def ask(self, request: bytes) -> bytes:
        """What the program answers; a process that ends instead is given a second try, since another may have ended it.

        Raises:
            ChildError: it has no answer; the next request is put to another process where this one has ended.
        """
        with self._one_at_a_time:
            end = monotonic() + self.patience
            try:
                kind, reply = self._answer(request, end)
            except (OSError, EOFError):
                try:
                    kind, reply = self._answer(request, end)
                except (OSError, EOFError) as error:
                    raise ChildError("its decoder crashed, took too long or needed too much memory") from error
        if kind == _FAILED:
            raise ChildError(reply.decode(errors="replace"))
        return reply

    def _answer(self, request: bytes, end: float) -> tuple[bytes, bytes]:
        if (left := end - monotonic()) <= 0:
            raise EOFError
        process = self._process()
        timer = threading.Timer(left, process.kill)
        timer.start()
        try:
            assert process.stdin
            assert process.stdout
            _send(process.stdin, _DONE, request)
            return _receive(process.stdout)
        except BaseException:  # also Ctrl-C: the answer would be taken for that of the next request
            self.stop()
            raise
        finally:
            timer.cancel()

    def _process(self) -> subprocess.Popen[bytes]:
        process = self._processes.get(os.getpid())
        if process is None or process.poll() is not None:
            here = {"", os.getcwd()}  # a stranger's file there must not pass for a library
            places = [place for place in sys.path if place not in here]
            command = [sys.executable, "-I", __file__, str(self.program), str(self.memory), *places]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
            self._processes[os.getpid()] = process
        return process

    def stop(self) -> None:
        """End the process, e.g. where its answers can no longer be trusted; the next request starts another."""
        if process := self._processes.pop(os.getpid(), None):
            process.kill()
            process.communicate()


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
    _limit(memory)
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


if __name__ == "__main__":
    sys.path += sys.argv[3:]
    _serve(sys.argv[1], int(sys.argv[2]))
