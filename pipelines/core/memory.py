"""The C library's memory, kept instead of handed back and forth."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed: each step and each image on a CPU allocates the same large tensors again.

    By default glibc maps each block over 32 MB anew and the kernel fills it with zeros, page by page, which took about
    0.9 of the 4 s of a step of the large U-Net when we looked. The process then holds on to its peak memory until it
    ends. Elsewhere than on Linux with glibc nothing happens.

    Returns:
        whether it was done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt if sys.platform == "linux" else None
    except (AttributeError, OSError):  # musl has no mallopt
        mallopt = None
    if mallopt is None:
        return False
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 2**26))
    return all(bool(mallopt(option, value)) for option, value in wanted)
