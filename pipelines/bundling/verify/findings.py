"""What `delineate bundle verify` reports: one finding a broken rule, with file and line."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import printable

_LONGEST = 1000  # characters


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
        return printable(f"{self.file}:{self.line}: {self.rule}: {self.message}"[:_LONGEST])
