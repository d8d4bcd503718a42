"""Long work in a process of its own, whose memory is given back when it ends."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection

from .errors import known_cause


class Apart:
    """Work that a new process does from now on.

    Args:
        work: it can be pickled.
        prepare: called first in that process, e.g. to say what is printed there; it can be pickled.
    """

    def __init__(self, work: Callable[[], None], prepare: Callable[[], None] | None = None) -> None:
        spawn = get_context("spawn")
        self._reasons, reason = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=_child, args=(work, prepare, reason))
        self._process.start()
        reason.close()

    def wait(self, seconds: float | None = None) -> str | None:
        """Wait for its end.

        Args:
            seconds: at most so long.

        Returns:
            why it failed, in one line; ``None`` where it did not, or has not ended.
        """
        self._process.join(seconds)
        code = self._process.exitcode
        if not code:
            return None
        try:
            return str(self._reasons.recv())
        except EOFError:
            return (
                f"its process was killed by signal {-code}; memory?" if code < 0 else f"its process ended with {code}"
            )

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.terminate()
        self._process.join(10)
        self._process.kill()
        self._process.join()


def work_apart(work: Callable[[], None], prepare: Callable[[], None] | None = None) -> str | None:
    """Do the work in a new process, see `Apart`, and wait for its end; Ctrl-C ends it, too.

    Returns:
        why it failed, in one line; ``None`` where it did not.
    """
    apart = Apart(work, prepare)
    try:
        return apart.wait()
    except BaseException:
        apart.stop()
        raise


def _child(work: Callable[[], None], prepare: Callable[[], None] | None, reason: Connection) -> None:
    if prepare:
        prepare()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        reason.send(in_one_line(error))
        sys.exit(1)


def in_one_line(error: BaseException) -> str:
    """One line about what went wrong; where no user can put it right, standard error gets the traceback."""
    if known := known_cause(error):
        return " ".join(str(known).split())
    traceback.print_exception(error)
    while error.__cause__ is not None:  # MONAI wraps what its components raise
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _end_with_parent() -> None:
    """Two processes must never train in one folder: one whose parent was killed ends, too."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
