from __future__ import annotations

import gc
import os
from functools import cache

import lean  # noqa: F401
import pytest
import typer.main
from hypothesis import settings
from one_training import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler
from orthanc import orthanc as orthanc  # a fixture for all

# Tiny tensors on many threads wait for each other: ten times slower on a busy machine. torch asks when it is imported,
# here and in every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"

# A third of what hypothesis draws of itself, other examples each time; on a busy machine any of them may take long.
settings.register_profile("here", max_examples=33, deadline=None)
settings.load_profile("here")

# Each call of the command line builds all commands anew, 30 ms of the 40 that most calls take here.
typer.main.get_command = cache(typer.main.get_command)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """From here on there is garbage; what was imported and collected is none.

    To look for it at every 700th object, as Python does, takes a fifteenth of the time of all tests.
    """
    gc.freeze()
    gc.set_threshold(7_000)
    gc.enable()
