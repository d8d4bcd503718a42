"""JPEG lossless, decoded by GDCM in a process of its own: a broken codestream may end that process.

GDCM throws through C code, or reads what is not there, and takes the interpreter with it. No other decoder of JPEG
lossless has a licence that Delineate can ship. This file is that process's program, too, and imports nothing of ours.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from typing import NamedTuple

PATIENCE = 60.0
"""Seconds for one frame."""

_one_at_a_time = threading.Lock()
_processes: dict[int, subprocess.Popen[bytes]] = {}  # by the process that started it: a fork must not share the pipes


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
        ValueError: GDCM broke down, or gave another number of values.
    """
    with _one_at_a_time:
        process = _process()
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            decoded = _ask(process, codestream, frame)
        except (OSError, ValueError):
            decoded = b""
        finally:
            timer.cancel()
        if len(decoded) != frame.rows * frame.columns * frame.samples * frame.allocated // 8:
            _end(_processes.pop(os.getpid()))
            raise ValueError("its JPEG lossless data are broken")
        return decoded


def _process() -> subprocess.Popen[bytes]:
    """The process that decodes, started where there is none or it has ended."""
    process = _processes.get(os.getpid())
    if process is None or process.poll() is not None:
        command = [sys.executable, "-I", __file__]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        _processes[os.getpid()] = process
    return process


def _ask(process: subprocess.Popen[bytes], codestream: bytes, frame: Frame) -> bytes:
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps([len(codestream), *frame]).encode() + b"\n" + codestream)
    process.stdin.flush()
    return process.stdout.read(int(process.stdout.readline() or 0))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@atexit.register
def _end_own() -> None:
    if process := _processes.pop(os.getpid(), None):
        _end(process)


def _serve() -> None:
    """Answer each frame with its length and values, until there are no more."""
    while line := sys.stdin.buffer.readline():
        length, *frame = json.loads(line)
        values = _decode(sys.stdin.buffer.read(length), Frame(*frame))
        sys.stdout.buffer.write(b"%d\n" % len(values) + values)
        sys.stdout.buffer.flush()


def _decode(codestream: bytes, frame: Frame) -> bytes:
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(codestream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((frame.columns, frame.rows, 1))
    image.SetDataElement(element)
    colours = gdcm.PhotometricInterpretation.GetPIType(frame.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(colours))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(frame.transfer_syntax)))
    bits = (frame.allocated, frame.stored, frame.stored - 1)
    image.SetPixelFormat(gdcm.PixelFormat(frame.samples, *bits, frame.signed))
    values: bytes = image.GetBuffer().encode("utf-8", "surrogateescape")  # gdcm gives bytes as text
    return values


if __name__ == "__main__":
    _serve()
