"""What a user can put right; here, at the root, because networks and pipelines both raise it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DelineateError(Exception):
    """Base of every error that a user can put right; the command line prints it as one line, without a traceback.

    Attributes:
        exit_code: of the command line that it ends.
    """

    exit_code = 1


class WrongValueError(DelineateError, ValueError):
    """An argument or a setting that cannot be what it is."""


class UnknownNameError(WrongValueError):
    """A name that is not among the known ones; the message names the closest.

    Args:
        kind: what is named, e.g. ``"network"``.
        name: the name as given.
        known: the names there are.
        instead: where these are too many to list: what is said in their place when none of them is close.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], instead: str | None = None) -> None:
        known = list(known)
        hint = closest(name, known)
        there = f"there are: {', '.join(known) or 'none'}" if instead is None else "" if hint else instead
        super().__init__(f"no {kind} is called {name!r}; " + " ".join(filter(None, [hint and f"{hint}?", there])))


def closest(name: str, known: Iterable[str]) -> str:
    """``"did you mean 'x'"`` for the known name closest to ``name``, or an empty string where none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    close = close or [one for one in known if len(name) > 2 and one.startswith(name)]
    if not close:
        as_written = {one.casefold(): one for one in known}
        folded = difflib.get_close_matches(name.casefold(), as_written, n=1, cutoff=0.7)
        close = [as_written[one] for one in folded]
    return f"did you mean {close[0]!r}" if close else ""
