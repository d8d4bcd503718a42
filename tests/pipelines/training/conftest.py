from __future__ import annotations

from pathlib import Path

import pytest
from tiny_training import Build, builder


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Makes trainings in ``tmp_path``."""
    return builder(tmp_path)
