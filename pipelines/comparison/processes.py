"""Long work in a process of its own, whose memory is given back when it ends."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection

from ..core.errors import known_cause


def work_apart(work: Callable[[], None], prepare: Callable[[], None] | None = None) -> str | None:
    """Do the work in a new process and wait for its end.

    Args:
        work: it can be pickled.
        prepare: called first in that process, e.g. to say what is printed there; it can be pickled.

    Returns:
        why it failed, in one line; ``None`` where it did not.
    """
    spawn = get_context("spawn")
    reasons, reason = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_child, args=(work, prepare, reason))
    process.start()
    reason.close()
    try:
        process.join()
    except BaseException:
        process.terminate()
        process.join(10)
        process.kill()
        process.join()
        raise
    if process.exitcode == 0:
        return None
    try:
        return str(reasons.recv())
    except EOFError:
        code = process.exitcode or 0
        return f"its process was killed by signal {-code}; memory?" if code < 0 else f"its process ended with {code}"


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
