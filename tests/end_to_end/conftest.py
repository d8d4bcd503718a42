"""A small labelled data set and a run trained on it, made once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import SMALL, Done, delineate, inside, succeeded

from delineate.pipelines.phantoms.images import write_phantoms


@dataclass(frozen=True)
class Place:
    """A folder with ``dataset`` and, trained in it, ``run``; commands started there name both relatively."""

    folder: Path
    training: Done

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def run(self) -> Path:
        return self.folder / "run"


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_phantoms(folder / "phantoms", 24)
    succeeded(inside("data", "index", folder / "phantoms", "--out", folder / "dataset"))
    return folder / "dataset"


@pytest.fixture(scope="session")
def place(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The trained run; nothing may write into it."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(dataset, folder / "dataset")
    return Place(
        folder, succeeded(delineate("train", "skin_lesion", "--data", "dataset", "--out", "run", *SMALL, cwd=folder))
    )


@pytest.fixture
def elsewhere(place: Place, tmp_path: Path) -> Path:
    """A copy of the run's folder where nothing of the repository is near."""
    shutil.copytree(place.run, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def untrained(place: Place, tmp_path: Path) -> Path:
    """A copy of the run as it was before it was trained: no weights, no logs."""
    ignored = shutil.ignore_patterns("models", "checkpoints", "logs")
    shutil.copytree(place.run, tmp_path / "untrained", ignore=ignored)
    return tmp_path / "untrained"
