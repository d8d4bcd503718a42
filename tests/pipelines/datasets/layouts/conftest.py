"""Folders as downloaded: layouts look at names, so that most files may be empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from delineate.pipelines.datasets.layouts import Found


@pytest.fixture
def touch() -> Callable[..., Path]:
    """Make empty files; returns their folder."""

    def touch(root: Path, *names: str) -> Path:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        return root

    return touch


@pytest.fixture
def pairs() -> Callable[[Found], list[tuple[str, ...]]]:
    """The names of image and masks of each item."""
    return lambda found: [(item.file.name, *(label.name for label in item.label)) for item in found[0]]


@pytest.fixture
def refusals() -> Callable[[Found], dict[str, str]]:
    """Reasons by file name."""
    return lambda found: {Path(error.source).name: error.reason for error in found[1]}
