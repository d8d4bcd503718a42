"""What Delineate says when it refuses something: what was seen, what is needed, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class DelineateError(Exception):
    """Base of every error that a user can mend; the command line prints it as one line, without a traceback."""


class InputError(DelineateError):
    """A file or folder that is refused.

    Args:
        source: the refused file or folder.
        reason: what was seen, e.g. ``"mask has grey values (3, 17, 128)"``.
        remedy: what to do next, e.g. ``"threshold it to 0 and 255"``.
    """

    def __init__(self, source: str | Path, reason: str, remedy: str) -> None:
        super().__init__(f"{source}: {reason}; {remedy}")
        self.source, self.reason, self.remedy = str(source), reason, remedy


class SkippedError(InputError):
    """A file that is in order but of no use (a DICOM report, the copy of a slice): passed over, with its reason."""


class UnknownNameError(DelineateError):
    """A name that is not among the known ones; the message names the closest.

    Args:
        kind: what is named, e.g. ``"network"``.
        name: the name as given.
        known: the names there are.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = list(known)
        hint = closest(name, known)
        super().__init__(f"no {kind} is called {name!r}; {hint + '? ' if hint else ''}there are: {', '.join(known)}")


def printable(text: object) -> str:
    """`text` with line breaks, escape sequences, bidi controls and the like written out: it cannot forge a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def closest(name: str, known: Iterable[str]) -> str:
    """``"did you mean 'x'"`` for the known name closest to ``name``, or an empty string."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}" if close else ""


def known_cause(error: BaseException | None) -> DelineateError | None:
    """The ``DelineateError`` that ``error`` is or was raised from: MONAI wraps what its components raise."""
    while error is not None and not isinstance(error, DelineateError):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let the ``DelineateError`` out by itself where MONAI wrapped one."""
    try:
        yield
    except Exception as error:
        known = known_cause(error)
        if known is None or known is error:
            raise
        raise known from known.__cause__
