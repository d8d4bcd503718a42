from __future__ import annotations

import subprocess
import sys

import pytest

REUSE = """
import ctypes, resource
import torch
from delineate.pipelines.memory import keep_freed_memory
{first}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**26)  # 256 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(6)))  # the heap settles after the first few
"""


def minor_faults(first: str) -> int:
    done = subprocess.run([sys.executable, "-c", REUSE.format(first=first)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_memory_that_was_freed_is_not_mapped_again() -> None:
    assert minor_faults("assert keep_freed_memory()") * 10 < minor_faults("")


@pytest.mark.skipif(sys.platform == "linux", reason="there it does something")
def test_elsewhere_nothing_happens() -> None:
    from delineate.pipelines.memory import keep_freed_memory

    assert not keep_freed_memory()
