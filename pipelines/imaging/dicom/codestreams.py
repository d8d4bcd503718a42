"""What a compressed frame says of its own size, before a decoder believes it."""

from __future__ import annotations

from typing import NamedTuple

_SIZES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # SOF0-SOF15 without tables; JPEG-LS
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment
_JP2 = b"\x00\x00\x00\x0cjP  "
_J2K = b"\xff\x4f\xff\x51"


class Size(NamedTuple):
    """Of a frame, in pixels; values a pixel; bits a value."""

    rows: int
    columns: int
    samples: int
    bits: int


def codestream_sizes(frame: bytes) -> list[Size]:
    """Every size that the headers of a JPEG, JPEG-LS or JPEG 2000 frame name; a sound one names one.

    References:
        ITU-T T.81, B.2.2; T.87, C.2.2; T.800, A.5.1.
    """
    if frame.startswith((_J2K, _JP2)):
        return _jpeg_2000(frame)
    return _jpeg(frame)


def _jpeg_2000(frame: bytes) -> list[Size]:
    start = frame.find(_J2K)
    header = frame[start + 4 : start + 43]
    if start < 0 or len(header) < 39:
        return []
    right, bottom, left, top = (int.from_bytes(header[at : at + 4], "big") for at in (4, 8, 12, 16))
    return [Size(bottom - top, right - left, int.from_bytes(header[36:38], "big"), (header[38] & 0x7F) + 1)]


def _jpeg(frame: bytes) -> list[Size]:
    sizes: list[Size] = []
    at = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA:  # start of scan: what follows is data
            break
        if marker in _SIZES and at + 10 <= len(frame):
            rows, columns = (int.from_bytes(frame[place : place + 2], "big") for place in (at + 5, at + 7))
            sizes.append(Size(rows, columns, frame[at + 9], frame[at + 4]))
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return sizes
