"""JPEG lossless and JPEG-LS, decoded by GDCM in a process of its own: a broken codestream may end that process.

GDCM throws through C code, or reads what is not there, and takes the interpreter with it. No other decoder of JPEG
lossless has a licence that Delineate can ship, and that of JPEG-LS alone wants a numpy that MONAI Label refuses.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...core.child import Child, ChildError
from .parsing import UnsoundError

_GDCM = Child(Path(__file__).with_name("gdcm_apart.py"))


class Frame(NamedTuple):
    """What a frame holds, as GDCM wants to be told."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: int
    photometric: str
    transfer_syntax: str


def decode_jpeg_lossless(codestream: bytes, frame: Frame) -> bytes:
    """The values of a frame, little endian, colour by pixel.

    Raises:
        UnsoundError: GDCM is not installed.
        ValueError: GDCM broke down, or gave another number of values.
    """
    if find_spec("gdcm") is None:
        reason = "is JPEG lossless or JPEG-LS, and python-gdcm, which decodes these, is not installed"
        raise UnsoundError(reason, "pip install python-gdcm")
    try:
        decoded = _GDCM.ask(json.dumps(frame._asdict()).encode() + b"\n" + codestream)
    except ChildError as error:
        raise ValueError(f"its JPEG lossless or JPEG-LS data are broken: {error}") from error
    if len(decoded) != frame.rows * frame.columns * frame.samples * frame.allocated // 8:
        _GDCM.stop()  # it may have written where it should not
        raise ValueError("its JPEG lossless or JPEG-LS data are broken")
    return decoded
