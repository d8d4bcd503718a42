"""What Delineate says when it refuses something: what was seen, what is needed, what to do next."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal


class DelineateError(Exception):
    """Base of every error that a user can put right; the command line prints it as one line, without a traceback."""


class InputError(DelineateError):
    """A file or folder that is refused.

    Args:
        source: the refused file or folder.
        reason: what was seen, e.g. ``"mask has grey values (3, 17, 128)"``.
        remedy: what to do next, e.g. ``"threshold it to 0 and 255"``.
    """

    def __init__(self, source: str | Path, reason: str, remedy: str) -> None:
        super().__init__(f"{printable(source)}: {reason}; {remedy}")
        self.source, self.reason, self.remedy = str(source), reason, remedy


class SkippedError(InputError):
    """A file that is in order but of no use (a DICOM report, the copy of a slice): passed over, with its reason."""


class NotedError(SkippedError):
    """What is to be known of a file or folder that is used all the same; as little a refusal as a skipped file is."""


def fate(error: InputError) -> Literal["refused", "skipped", "note"]:
    """What became of the file: a ``note`` is of one that is used."""
    if isinstance(error, NotedError):
        return "note"
    return "skipped" if isinstance(error, SkippedError) else "refused"


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
        super().__init__(
            f"no {kind} is called {name!r}; {hint + '? ' if hint else ''}there are: {', '.join(known) or 'none'}"
        )


def closest(name: str, known: Iterable[str]) -> str:
    """``"did you mean 'x'"`` for the known name closest to ``name``, or an empty string where none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    close = close or [one for one in known if len(name) > 2 and one.startswith(name)]
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


def counted(number: int, noun: str, plural: str = "") -> str:
    """``"1 image"``, ``"2 images"``; ``plural`` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def printable(name: object) -> str:
    r"""A file's name on one line, as ``ls -b`` writes it: what controls a terminal, and bytes that are no UTF-8.

    ``\n``, ``\x1b``, ``\xff``; so that no two names look alike, a backslash is written twice where it can be in one.
    """
    return "".join(map(_printable_letter, str(name)))


def _printable_letter(letter: str) -> str:
    if letter == "\\":
        return letter if os.sep == letter else letter * 2
    if letter.isprintable() or unicodedata.category(letter) == "Zs" or letter in "\u200c\u200d":  # joiners: of scripts
        return letter
    if "\udc80" <= letter <= "\udcff":  # how Python keeps a byte that is no UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    known = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return known.get(letter) or (f"\\x{ord(letter):02x}" if ord(letter) < 0x80 else f"\\u{ord(letter):04x}")
