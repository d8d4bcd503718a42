"""Volumes decoded once, though their slices are asked for one by one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import RLock

from .formats import read_volume
from .volume import Volume

MAX_BYTES = 2**30
"""What all kept volumes may take together; the latest is kept whatever its size."""

_VOLUMES: OrderedDict[Hashable, Volume] = OrderedDict()
_LOCK = RLock()  # held while reading, so that two threads do not decode the same volume


def cached(read: Callable[[], Volume], key: Hashable) -> Volume:
    """A volume, read unless it is kept; those used longest ago are let go.

    Args:
        read: decodes the volume.
        key: changes when the files do, e.g. with their times and sizes.

    Returns:
        The volume, whose voxels cannot be written to.
    """
    with _LOCK:
        if key not in _VOLUMES:
            _VOLUMES[key] = read()
            _VOLUMES[key].voxels.setflags(write=False)
        _VOLUMES.move_to_end(key)
        while len(_VOLUMES) > 1 and sum(volume.voxels.nbytes for volume in _VOLUMES.values()) > MAX_BYTES:
            _VOLUMES.popitem(last=False)
        return _VOLUMES[key]


def cached_volume(path: str | Path) -> Volume:
    """`read_volume`, once for each state of a file (its time and size; of ``.mhd`` and ``.nhdr``, the header's)."""
    path = Path(path)
    state = path.stat() if path.exists() else None
    return cached(lambda: read_volume(path), (str(path), state and (state.st_mtime_ns, state.st_size)))
