"""The parts of an HTTP answer, each to a file while it comes in; at no time more of it is in memory than a piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.message import Message
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from ..core.errors import printable

_MOST_HEADER = 2**16  # bytes of the header of a part


class MultipartError(ValueError):
    """What is wrong with an answer, in words."""


class Limits(NamedTuple):
    """What is taken at most.

    Attributes:
        bytes: of one part.
        parts: of one answer.
    """

    bytes: int
    parts: int


def write_parts(chunks: Iterable[bytes], content_type: str, folder: Path, limits: Limits) -> list[Path]:
    """Write each part to a file that is named by its SHA-256; an answer of one part may come without an envelope.

    Args:
        chunks: the body, in pieces of any size.
        content_type: of the answer: ``multipart/related``, or ``application/dicom``.
        folder: where to.
        limits: of the parts.

    Returns:
        the files, in the order of the parts, each once.

    Raises:
        MultipartError: it is of another type, ends early, or is larger than the limits.
    """
    told = Message()
    told["Content-Type"] = content_type
    if told.get_content_type() == "application/dicom":
        pieces: Iterator[bytes | None] = _whole(chunks)
    elif told.get_content_type() == "multipart/related" and (boundary := told.get_boundary()):
        pieces = split(chunks, boundary.encode("utf-8", "replace"))
    else:
        raise MultipartError(f"sends {printable(content_type)[:64] or 'something without a type'}, no DICOM")
    files: list[Path] = []
    while (path := _write_one(pieces, folder, limits.bytes)) is not None:
        files.append(path)
        if len(files) > limits.parts:
            raise MultipartError(f"sends more than {limits.parts} instances")
    return list(dict.fromkeys(files))


def split(chunks: Iterable[bytes], boundary: bytes) -> Iterator[bytes | None]:
    """The bytes of each part, as they come, and ``None`` where it ends.

    Args:
        chunks: the body, in pieces of any size.
        boundary: between the parts, RFC 2046.

    Raises:
        MultipartError: the body ends before its last boundary, or a part has no end of its header.
    """
    delimiter = b"\r\n--" + boundary
    held, state = bytearray(b"\r\n"), "before"
    for chunk in chunks:
        held += chunk
        while True:
            if state == "header":
                if held.startswith(b"--"):
                    return
                at, length = held.find(b"\r\n\r\n"), 4
                if at < 0 and len(held) > _MOST_HEADER:
                    raise MultipartError("sends a part without an end of its header")
            else:
                at, length = held.find(delimiter), len(delimiter)
            ready = at if at >= 0 else max(0, len(held) - len(delimiter) + 1)
            if state == "body" and ready:
                yield bytes(held[:ready])
            if at < 0:
                if state != "header":
                    del held[:ready]
                break
            if state == "body":
                yield None
            del held[: at + length]
            state = "body" if state == "header" else "header"
    raise MultipartError("broke off in the middle of its answer")


def _whole(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    yield from filter(None, chunks)
    yield None


def _write_one(pieces: Iterator[bytes | None], folder: Path, most: int) -> Path | None:
    """The file of the next part; ``None`` after the last."""
    first = next(pieces, b"")
    if first == b"":
        return None
    temporary, digest, size = folder / f".{uuid4().hex}.tmp", sha256(), 0
    try:
        with temporary.open("xb") as file:
            while first:
                if (size := size + len(first)) > most:
                    raise MultipartError(f"sends an instance of more than {most} bytes")
                digest.update(first)
                file.write(first)
                first = next(pieces, None)
        return temporary.replace(folder / f"{digest.hexdigest()}.dcm")
    finally:
        temporary.unlink(missing_ok=True)
