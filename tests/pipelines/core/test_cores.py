from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from delineate.pipelines.core import cores
from delineate.pipelines.core.cores import usable_cores, use_own_cores


@pytest.fixture(autouse=True)
def eight_cores_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_OWN", tmp_path / "own")


def limit(tmp_path: Path, files: dict[str, str], own: str = "0::/\n") -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_without_a_limit_all_cores_that_the_process_may_run_on_are_used() -> None:
    assert usable_cores() == 8


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"cpu.max": "250000 100000\n"}, "0::/\n", 3),
        ({"cpu.max": "max 100000\n"}, "0::/\n", 8),
        ({"cpu.max": "10000 100000\n"}, "0::/\n", 1),
        ({"cpu.max": "6400000 100000\n"}, "0::/\n", 8),
        ({"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, "0::/a/b\n", 2),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n", 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n", 8),
        ({"cpu.max": "odd\n"}, "0::/../..\n", 8),
    ],
)
def test_a_containers_quota_is_kept(tmp_path: Path, files: dict[str, str], own: str, expected: int) -> None:
    limit(tmp_path, files, own)
    assert usable_cores() == expected


@pytest.mark.parametrize(("environment", "expected"), [("", 3), ("5", 4)])
def test_torch_computes_with_no_more_threads_than_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str, expected: int
) -> None:
    limit(tmp_path, {"cpu.max": "300000 100000"})
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        use_own_cores()
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
