"""Which of the processes that train one network together this one is; alone it is the first of one."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.utils._pytree import tree_map_only

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _joined() else 0


def process_count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _joined() else 1


def local_process_count() -> int:
    """How many of them are on this machine, as torchrun says."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", process_count())) if _joined() else 1


def of_first(value: T) -> T:
    """What the first process gives, tensors on the CPU; all must ask, and what the others give is not used."""
    if process_count() == 1:
        return value
    box: list[Any] = [tree_map_only(torch.Tensor, torch.Tensor.cpu, value) if rank() == 0 else None]
    dist.broadcast_object_list(box)
    found: T = box[0]
    return found


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The mean of what all processes give, of floats and of one shape."""
    if process_count() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / process_count()


def anywhere(seen: bool) -> bool:
    """Whether any process has seen it."""
    if process_count() == 1:
        return seen
    found: list[Any] = [None] * process_count()
    dist.all_gather_object(found, seen)
    return any(found)


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()
