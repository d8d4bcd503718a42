"""Thresholds as they are written on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import DelineateError
from ..imaging.structures import Structure, thresholds_of


def parse_thresholds(words: Sequence[str], structures: Sequence[Structure]) -> float | dict[str, float] | None:
    """Thresholds, 0-1, from text: ``0.4`` of all structures, ``heart=0.3`` of one; ``None`` where nothing is given.

    Of what is given twice, the last counts, as of other options.

    Raises:
        UnknownNameError: no structure has the name.
        DelineateError: a word is of neither form, or a threshold is not within 0 and 1.
    """
    found: dict[str, float] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError as error:
            raise DelineateError(
                f"--threshold got {word!r}; write a probability, 0 to 1, or one of a structure, e.g. heart=0.3"
            ) from error
        if equals and not name.strip():
            raise DelineateError(f"--threshold got {word!r}, which names no structure; write e.g. heart=0.3")
    of_all = found.pop("", None)
    thresholds_of(structures, of_all)
    thresholds_of(structures, found)
    if not found:
        return of_all
    return ({} if of_all is None else {one.name: of_all for one in structures}) | found
