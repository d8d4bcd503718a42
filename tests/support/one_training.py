"""Tests that share a trained run are run by one of the processes that divide the tests: it is trained once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[2]


@cache
def needs_run(file: str) -> bool:
    """Whether tests of this file take the run of ``tests/end_to_end/conftest.py``."""
    return "import Place" in (ROOT / file).read_text(encoding="utf-8")


class OneTraining(LoadFileScheduling):
    """The tests of a file stay together, and those of all files that need the run."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "the trained run" if needs_run(file) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneTraining | None:
    return OneTraining(config, log) if config.getoption("dist") == "loadfile" else None
