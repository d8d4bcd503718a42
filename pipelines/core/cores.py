"""How many CPU cores this process may use, and the threads that torch computes with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path, PurePosixPath

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The cores that the process may run on, or the quota of its container where that is less; at least 1."""
    try:
        own = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux knows
        own = os.cpu_count() or 1
    return max(1, min([own, *map(ceil, _quotas())]))


def compute_threads() -> int:
    """How many threads another runtime than torch is given: ``OMP_NUM_THREADS``, else `usable_cores`."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else usable_cores()


def use_own_cores() -> None:
    """Have torch compute with `usable_cores` threads where it would take more; ``OMP_NUM_THREADS`` is left alone.

    A container sees all cores of its machine and may use some of them: threads without a core wait for each other.
    """
    import torch

    if not os.environ.get("OMP_NUM_THREADS") and (cores := usable_cores()) < torch.get_num_threads():
        torch.set_num_threads(cores)


def _quotas() -> Iterator[float]:
    """Cores, from the cgroups that the process is in; of version 2, then of version 1."""
    for folder in _own_groups(""):
        with suppress(OSError, ValueError):  # "max" is no number, and no limit
            quota, period = (folder / "cpu.max").read_text().split()
            yield int(quota) / int(period)
    for folder in _own_groups("cpu"):
        with suppress(OSError, ValueError):
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:
                yield int(quota) / int(period)


def _own_groups(controller: str) -> Iterator[Path]:
    """The folders of the process's cgroup and of those above it, as far as they can be seen from inside."""
    root = _CGROUPS / controller
    yield root
    with suppress(OSError):
        for line in _OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                below = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
                yield from (root.joinpath(*below[:depth]) for depth in range(1, len(below) + 1))
