"""The bytes of the voxels: as many as the header declares, read to the end of the stream, where its checksum is."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError, permission_denied

DAMAGED = "copy or download it again"
_MOST_DEFLATED = 1032  # times as many bytes is the most that deflate unpacks to
_BLOCK = 2**22


class Place(NamedTuple):
    """Where the voxels of a volume lie.

    Attributes:
        file: that holds them.
        begin: their first byte in the file, packed or not.
        skip: unpacked bytes before them.
        size: unpacked bytes that the header declares.
        packing: ``gzip``, ``zlib``, or ``""``.
    """

    file: Path
    begin: int
    skip: int
    size: int
    packing: Literal["", "gzip", "zlib"] = ""


def refuse_other_size(path: Path, place: Place) -> None:
    """Raise where the file can't hold what its header declares, or holds more; nothing is unpacked or allocated.

    Raises:
        InputError: of ``path``, the header's file.
    """
    held = place.file.stat().st_size - place.begin
    needed = place.skip + place.size
    if held < needed if not place.packing else held * _MOST_DEFLATED < needed:
        packed = "packed " if place.packing else ""
        reason = f"is cut off or damaged: its header declares {needed} bytes of voxels, there are {held} {packed}bytes"
        raise InputError(path, reason, DAMAGED)
    if held > needed and not place.packing:
        raise _too_long(path, needed)


def read_values(
    path: Path, place: Place, stored: np.dtype[Any], convert: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any]:
    """All values, in the order of the file, read and converted a block at a time: they are in memory once.

    Args:
        path: the header's file, named when refused.
        place: of the voxels.
        stored: their type in the file.
        convert: values as stored to values as wanted, one for one.

    Raises:
        InputError: the stream breaks off, its checksum is wrong, or it holds more than is declared.
    """
    refuse_other_size(path, place)
    values = np.empty(place.size // stored.itemsize, convert(np.empty(0, stored)).dtype)
    try:
        with open_place(place) as stream:
            for begin in range(0, len(values), _BLOCK // stored.itemsize):
                part = values[begin : begin + _BLOCK // stored.itemsize]
                part[:] = convert(np.frombuffer(_exactly(stream, len(part) * stored.itemsize), stored))
            if stream.read(1):
                raise _too_long(path, place.size)
    except PermissionError as error:
        raise permission_denied(place.file) from error
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(path, f"is cut off or damaged: its voxels can't be unpacked ({error})", DAMAGED) from error
    return values


@contextmanager
def open_place(place: Place) -> Iterator[IO[bytes]]:
    """The unpacked bytes from the first voxel on."""
    with place.file.open("rb") as file:
        file.seek(place.begin)
        stream: IO[bytes] = file
        if place.packing == "gzip":
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb"))
        elif place.packing == "zlib":
            stream = cast("IO[bytes]", io.BufferedReader(_Inflated(file)))
        for begin in range(0, place.skip, _BLOCK):
            _exactly(stream, min(_BLOCK, place.skip - begin))
        yield stream


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("it ends early")
    return data


def _too_long(path: Path, size: int) -> InputError:
    reason = f"holds more than the {size} bytes of voxels that its header declares"
    return InputError(path, reason, f"{DAMAGED}, or save it again with a program that shows it rightly")


class _Inflated(io.RawIOBase):
    """What a zlib stream holds; its end, where the checksum is, must be the end of the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._inflater = file, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while len(buffer) and not data and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(_BLOCK)
            data = self._inflater.decompress(packed, len(buffer))
            if not packed and not data and not self._inflater.eof:
                raise EOFError("it ends early")
        if self._inflater.eof and (self._inflater.unused_data or self._file.read(1)):
            raise zlib.error("more follows after its end")
        buffer[: len(data)] = data
        return len(data)
