"""What Delineate says when it refuses something: what was seen, what is needed, what to do next."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ...errors import DelineateError as DelineateError
from ...errors import UnknownNameError as UnknownNameError
from ...errors import WrongValueError as WrongValueError
from ...errors import closest as closest

_NOT_MADE = re.compile(r"Failed to instantiate component '(.*?)' with keywords: (.*)")  # MONAI's words
_LONGEST_REASON = 300  # characters


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


def permission_denied(path: str | Path) -> InputError:
    """The refusal of what is there and may be in order, and only this user may not read."""
    return InputError(path, "permission denied", "ask for the right to read it")


def fate(error: InputError) -> Literal["refused", "skipped", "note"]:
    """What became of the file: a ``note`` is of one that is used."""
    if isinstance(error, NotedError):
        return "note"
    return "skipped" if isinstance(error, SkippedError) else "refused"


def known_cause(error: BaseException | None) -> DelineateError | None:
    """The ``DelineateError`` that ``error`` is or was raised from: MONAI wraps what its components raise."""
    while error is not None and not isinstance(error, DelineateError):
        error = error.__cause__ or error.__context__
    return error


class ComponentError(DelineateError):
    """A component of a bundle that cannot be made of its settings; raised from what MONAI says of it."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let the ``DelineateError`` out by itself where MONAI wrapped one; name the component that refuses its settings.

    Raises:
        ComponentError: a component raised a plain ``ValueError``, ``TypeError`` or ``RuntimeError`` when it was made.
    """
    try:
        yield
    except Exception as error:
        known = known_cause(error)
        if known is None and (refusal := _of_component(error)):
            raise refusal from error
        if known is None or known is error:
            raise
        raise known from known.__cause__


def counted(number: int, noun: str, plural: str = "") -> str:
    """``"1 image"``, ``"2 images"``; ``plural`` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _of_component(error: BaseException) -> ComponentError | None:
    made, cause = None, error
    while cause.__cause__ is not None:
        made, cause = _NOT_MADE.match(str(cause)) or made, cause.__cause__
    if made is None or type(cause) not in (ValueError, TypeError, RuntimeError) or is_out_of_memory(cause):
        return None
    name, keywords = made.groups()
    reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:_LONGEST_REASON]
    return ComponentError(
        f"{name} cannot be made of its settings ({keywords.replace(',', ', ')}): {reason}; correct the one that is "
        "meant, --verbose shows where it failed"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, on the CPU or on a GPU."""
    return (
        isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error)
    )


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
