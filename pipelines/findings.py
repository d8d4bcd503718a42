"""What `delineate bundle verify` reports: one finding a broken rule, with file and line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """A rule that a bundle breaks.

    Args:
        file: the file, relative to the bundle's folder, with forward slashes.
        line: the line in it, from 1; 1 where the whole file is meant.
        rule: the rule's name, e.g. ``"expression"``.
        message: what was seen, and after a semicolon what to do.
    """

    file: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


def closest(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'"`` for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}" if close else ""
