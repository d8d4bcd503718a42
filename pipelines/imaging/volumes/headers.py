"""Headers of text, MetaImage's and NRRD's: what both have in common."""

from __future__ import annotations

import os
import re
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ...core.errors import InputError
from .streams import DAMAGED, Place

MOST_HEADER = 2**20
"""Bytes; a header that goes on is refused."""
_MOST_VALUE = 512  # characters; SimpleITK crashes on some longer ones
_MOST_AXES = 5  # that SimpleITK knows


class Header(NamedTuple):
    """What a header declares, each number checked.

    Attributes:
        sizes: of the axes, fastest first, that of the channels included.
        channels: which of the axes that is, if any.
        kind: of a value, in the file's byte order.
        place: of the voxels.
        text: the fields that tell where the volume lies, and no others, as a header that SimpleITK reads.
        has_space: whether it says which way its axes run.
    """

    sizes: tuple[int, ...]
    channels: int | None
    kind: np.dtype[Any]
    place: Place
    text: str
    has_space: bool = True

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes of the other axes."""
        return tuple(size for axis, size in enumerate(self.sizes) if axis != self.channels)

    @property
    def values(self) -> int:
        """In a voxel."""
        return 1 if self.channels is None else self.sizes[self.channels]


def read_head(path: Path) -> bytes:
    """The bytes that may hold the header."""
    with path.open("rb") as file:
        return file.read(MOST_HEADER)


def whole_numbers(path: Path, name: str, text: str, count: int | None = None) -> tuple[int, ...]:
    """The whole numbers of a field.

    Raises:
        InputError: there are others, or too many, or not as many as is said.
    """
    words = text.split()
    if not all(re.fullmatch(r"[+-]?\d{1,18}", word) for word in words) or not 1 <= len(words) <= _MOST_AXES:
        raise InputError(path, f"says that {name} is {short(text)}", f"needed are whole numbers; {DAMAGED}")
    if count not in (None, len(words)):
        raise InputError(path, f"says that {name} is {short(text)}, for {count} axes", DAMAGED)
    return tuple(map(int, words))


def whole_number(path: Path, name: str, text: str) -> int:
    """As `whole_numbers`, of one."""
    return whole_numbers(path, name, text, 1)[0]


def byte_count(sizes: tuple[int, ...], kind: np.dtype[Any]) -> int:
    """What the values take."""
    return prod(sizes) * kind.itemsize


def refuse_axes(path: Path, axes: int) -> None:
    """See that a volume can have so many axes.

    Raises:
        InputError: they are fewer than 2, or more than are read.
    """
    if not 2 <= axes <= _MOST_AXES:
        raise InputError(path, f"says that it has {axes} axes", f"needed are 2 to 4; {DAMAGED}")


def harmless(path: Path, name: str, value: str) -> str:
    """A value that a library may be shown.

    Raises:
        InputError: it is longer than any that is in order, or no plain text.
    """
    if len(value) > _MOST_VALUE or not (value.isascii() and value.isprintable()):
        raise InputError(path, f"says that {name} is {short(value)}", DAMAGED)
    return value


def data_file(path: Path, name: str) -> Path:
    """The one file that holds the data, in the folder of the header or below.

    Raises:
        InputError: there are several, it lies elsewhere, is not there, or no regular file.
    """
    if "%" in name or re.match(r"list\b", name, re.IGNORECASE):
        raise InputError(path, f"keeps its data in several files ({short(name)})", "save it as one file")
    file = Path(os.path.normpath(path.parent / name)) if "\0" not in name else path.parent
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(path, f"names a data file outside its folder ({short(name)})", "save it as one file")
    if not file.exists():
        raise InputError(path, f"names a data file that does not exist ({short(name)})", "add it")
    if not file.is_file():
        raise InputError(path, f"names a data file that is no regular file ({short(name)})", "save it as one file")
    return file


def short(text: str, most: int = 80) -> str:
    """A line that can be printed, whatever a stranger wrote."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[:most])
    return repr(line + ("..." if len(text) > most else ""))


def word_type(path: Path, name: str, known: dict[str, str], order: Literal["<", ">"] | None) -> np.dtype[Any]:
    """The type that a word names.

    Raises:
        InputError: there is no such type, or its bytes have no order.
    """
    if name not in known:
        raise InputError(path, f"has values of type {short(name)}", "save integers or real numbers")
    kind = np.dtype(known[name])
    if order is None and kind.itemsize > 1:
        raise InputError(path, "does not say the order of its bytes (endian)", DAMAGED)
    return kind.newbyteorder(order or "=")
