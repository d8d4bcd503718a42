"""Runs that a command takes together, with ``--ensemble``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundling.bundles import shipped_bundles
from ..bundling.several import admitted
from ..core.errors import counted, printable
from .console import say

if TYPE_CHECKING:
    from ..bundling.gate import Admission


def split_runs(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The runs that several words begin with, and what follows them; the first word is always taken for a run."""
    shipped = shipped_bundles()
    others = list(takewhile(lambda word: word in shipped or (Path(word) / "configs").is_dir(), words[1:]))
    return [*words[:1], *others], list(words[1 + len(others) :])


@contextmanager
def admitted_runs(runs: Sequence[str], trust: bool) -> Iterator[Admission]:
    """An ensemble that is gone when the block ends; how to keep it is printed."""
    with admitted(runs, trust) as admission:
        words = " ".join(map(printable, runs))
        say(f"ensemble of {counted(len(runs), 'network')}; to keep it: delineate bundle ensemble FOLDER {words}")
        yield admission
