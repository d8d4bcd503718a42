"""Files and folders that the test may not read, also where it runs as root, who may otherwise read all."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION = 0x20080522
_OVERRIDE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextmanager
def forbidden(path: Path, mode: int = 0) -> Iterator[Path]:
    """While this thread, and those that it starts, may not read a file or folder."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with _as_anybody():
            yield path
    finally:
        path.chmod(before)


@contextmanager
def _as_anybody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # twice effective, permitted, inheritable
    assert libc.capget(header, held) == 0
    lowered = (ctypes.c_uint32 * 6)(*held)
    lowered[0] &= ~_OVERRIDE
    assert libc.capset(header, lowered) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0
