from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import sleep

import nibabel as nib
import numpy as np
import pytest

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.volumes import cache
from delineate.pipelines.imaging.volumes.cache import cached, cached_volume
from delineate.pipelines.imaging.volumes.volume import Volume


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 250)
    cache._VOLUMES.clear()


def reader(name: str, reads: list[str], size: int = 100) -> Callable[[], Volume]:
    def read() -> Volume:
        sleep(0.01)
        reads.append(name)
        return Volume(Path(name), np.zeros((size, 1, 1), np.uint8), np.eye(4))

    return read


def test_a_volume_is_read_once() -> None:
    reads: list[str] = []
    first, second = (cached(reader("a", reads), "a") for _ in range(2))
    assert first is second
    assert reads == ["a"]


def test_threads_read_a_volume_once() -> None:
    reads: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: cached(reader("a", reads), "a"), range(8)))
    assert reads == ["a"]


def test_threads_read_several_volumes_at_once() -> None:
    both = Barrier(2, timeout=20)  # nobody passes it alone

    def read() -> Volume:
        both.wait()
        return Volume(Path("a"), np.zeros((9, 1, 1), np.uint8), np.eye(4))

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda key: cached(read, key), "ab"))


def test_what_was_used_longest_ago_is_let_go() -> None:
    reads: list[str] = []
    for name in "abacab":
        cached(reader(name, reads), name)
    assert "".join(reads) == "abcb"


def test_the_latest_volume_is_kept_whatever_its_size() -> None:
    reads: list[str] = []
    for name in "aabb":
        cached(reader(name, reads, 1000), name)
    assert reads == ["a", "b"]


def test_what_is_kept_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        cached(reader("a", []), "a").voxels[0] = 1


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    for moment, value in enumerate((1, 2)):
        nib.save(nib.Nifti1Image(np.full((2, 2, 2), value, np.uint8), np.eye(4)), path)
        os.utime(path, (moment, moment))
        assert cached_volume(path).voxels.max() == value
    assert cached_volume(path) is cached_volume(str(path))


def test_a_refused_file_is_refused_again(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="does not exist"):
            cached_volume(tmp_path / "a.nii")
