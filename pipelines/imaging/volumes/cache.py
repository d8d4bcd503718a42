"""Volumes decoded once, though their slices are asked for one by one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from .formats import read_volume
from .volume import Volume

MAX_BYTES = 2**30
"""What all kept volumes may take together; the latest is kept whatever its size."""

_VOLUMES: OrderedDict[Hashable, Volume] = OrderedDict()
_LOCK = Lock()  # of what follows and precedes
_READING: WeakValueDictionary[Hashable, _Turn] = WeakValueDictionary()


class _Turn:
    """Of the threads that want one volume: the first decodes it. Other volumes are decoded meanwhile."""

    def __init__(self) -> None:
        self.lock = Lock()


def cached(read: Callable[[], Volume], key: Hashable) -> Volume:
    """A volume, read unless it is kept; those used longest ago are let go.

    Args:
        read: decodes the volume.
        key: changes when the files do, e.g. with their times and sizes.

    Returns:
        The volume, whose voxels cannot be written to.
    """
    with _LOCK:
        turn = _READING.setdefault(key, _Turn())
    with turn.lock:
        with _LOCK:
            volume = _VOLUMES.get(key)
        volume = volume or read()
        volume.voxels.setflags(write=False)
        with _LOCK:
            _VOLUMES[key] = volume
            _VOLUMES.move_to_end(key)
            while len(_VOLUMES) > 1 and sum(kept.voxels.nbytes for kept in _VOLUMES.values()) > MAX_BYTES:
                _VOLUMES.popitem(last=False)
        return volume


def cached_volume(path: str | Path) -> Volume:
    """`read_volume`, once for each state of a file (its time and size; of ``.mhd`` and ``.nhdr``, the header's)."""
    path = Path(path)
    state = path.stat() if path.exists() else None
    return cached(lambda: read_volume(path), (str(path), state and (state.st_mtime_ns, state.st_size)))
