"""What ends a command from outside, in words: a signal, a full disk, a folder that cannot be written, no memory."""

from __future__ import annotations

import errno
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...installation import has_torch
from .errors import is_out_of_memory, known_cause

_REMEDIES = {
    errno.ENOSPC: "make room there, or name another folder",
    errno.EDQUOT: "make room there, or name another folder",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or name another folder",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "ask for the right to read or write it, or name another folder",
    errno.EPERM: "ask for the right to read or write it, or name another folder",
    errno.ENAMETOOLONG: "use shorter names: most file systems take 255 bytes each",
    errno.ENOTDIR: "a file is where a folder is needed: name another folder",
    errno.EEXIST: "name another folder",
    errno.EISDIR: "a folder is where a file is needed: name another one",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk cannot be read or written there: look at its state, or name another folder",
    errno.ESTALE: "the network folder has gone: mount it again",
}
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp|\.delineate\.\w+")  # files and runs on their way to their place
_NO_CUDA = ("Torch not compiled with CUDA", "Found no NVIDIA driver", "No CUDA GPUs are available")  # torch's words
_LONGEST = 100  # characters of a path that are shown


class Stopped(BaseException):
    """A signal asked the process to end; not an ``Exception``, so that nothing on the way takes it for an error.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def signals_stop() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `Stopped` in the main thread, so that files are tidied up on the way out."""

    def stop(number: int, _: Any) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = [number for number, handler in before.items() if handler != signal.SIG_IGN]  # nohup and the like stay deaf
    for number in heard:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


@contextmanager
def advising(advice: str, where: Path) -> Iterator[None]:
    """Give what ends the block from outside ``advice`` (see `in_words`), if the file ``where`` is there by then."""
    try:
        yield
    except BaseException as error:
        if where.is_file():
            vars(error)["advice"] = advice
        raise


def in_words(error: BaseException) -> str | None:
    """One line about an error that the user can do something about, else ``None``.

    That is a ``DelineateError``, a signal, an ``OSError`` of the disk, and memory that has run out; whatever of these
    the error was raised from, since MONAI and torch wrap what their components raise.
    """
    if (known := known_cause(error)) is not None:
        return str(known)
    advice = getattr(error, "advice", "")
    for cause in _chain(error):
        line = _of_system(cause)
        if line is not None:
            return f"{line}; {advice}" if advice else line
    return None


def _of_system(error: BaseException) -> str | None:
    if isinstance(error, Stopped):
        return f"stopped by {'Ctrl-C' if error.number == signal.SIGINT else error}"
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return f"{_place(error.filename)}{error.strerror}; {_REMEDIES[error.errno]}"
    if is_out_of_memory(error):
        return "out of memory; lower batch_size or image_size, use a smaller network, or end other programs"
    if isinstance(error, ModuleNotFoundError) and not has_torch():
        package = str(error.name).partition(".")[0]
        return f"this needs {package}, and this runtime only segments; use a full installation of Delineate"
    if any(words in str(error) for words in _NO_CUDA):
        return "there is no CUDA device here; leave device out, or set device=cpu"
    return None


def _place(filename: Any) -> str:
    if not isinstance(filename, str | Path):
        return ""
    path = Path(filename)
    for part in (path, *path.parents):
        if _TEMPORARY.fullmatch(part.name):
            path = part.parent
    text = str(path)
    return f"{text if len(text) <= _LONGEST else text[:_LONGEST] + '...'}: "


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from, the last first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
