from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from cache_parts import BYTES, Counted, Item, calls_for, make_way, same
from monai.data import CacheDataset, Dataset
from monai.transforms import Compose, RandFlipd

from delineate.pipelines.loading.caches import DiskDataset, cached_dataset, estimate_bytes


def test_items_that_fit_are_kept_in_memory(cache_items: list[Item], cache_way: Compose) -> None:
    assert type(cached_dataset(cache_items, cache_way, budget_gb=1.0)) is CacheDataset


def test_items_that_do_not_fit_are_kept_on_disk(cache_items: list[Item], cache_way: Compose, tmp_path: Path) -> None:
    data = cached_dataset(cache_items, cache_way, tmp_path / "cache", budget_gb=1e-6)
    assert type(data) is DiskDataset
    assert len([data[i] for i in range(len(data))]) == len(list((tmp_path / "cache").iterdir()))


def test_without_a_folder_they_are_read_anew(cache_items: list[Item], cache_way: Compose) -> None:
    data = cached_dataset(cache_items, Counted(cache_way), budget_gb=1e-6)
    assert type(data) is Dataset
    assert [calls_for(data) for _ in range(3)] == [1, 1, 1]


def test_the_budget_is_met_to_the_byte(cache_items: list[Item], cache_way: Compose) -> None:
    needed = len(cache_items) * BYTES
    assert type(cached_dataset(cache_items, cache_way, budget_gb=needed / 1e9 + 1e-12)) is CacheDataset
    assert type(cached_dataset(cache_items, cache_way, budget_gb=(needed - 1) / 1e9)) is Dataset


@pytest.mark.parametrize(("free", "kind"), [(14 * BYTES, CacheDataset), (14 * BYTES - 2, Dataset)])
def test_half_of_the_free_memory_is_the_budget(
    cache_items: list[Item], cache_way: Compose, monkeypatch: pytest.MonkeyPatch, free: int, kind: type
) -> None:
    memory = type("Memory", (), {"available": free})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert type(cached_dataset(cache_items, cache_way)) is kind


def test_the_estimate_is_exact_for_items_of_one_size(cache_items: list[Item], cache_way: Compose) -> None:
    for some in (cache_items[:1], cache_items[:3], cache_items * 10):
        held = [value for item in CacheDataset(some, cache_way, progress=False) for value in item.values()]
        true = sum(v.numel() * v.element_size() for v in held if isinstance(v, torch.Tensor))
        assert estimate_bytes(some, cache_way) == true == len(some) * BYTES


def test_one_large_image_among_few_is_not_overlooked() -> None:
    sizes = [1, 1, 1, 1000, 1, 1, 1]
    assert estimate_bytes([{"image": size} for size in sizes], lambda item: {"i": torch.zeros(item["image"])}) == 4024


def test_nothing_takes_no_memory(cache_way: Compose) -> None:
    assert estimate_bytes([], cache_way) == 0


def large(_: Item) -> Item:
    return {"image": torch.zeros(2500)}


@pytest.mark.parametrize(
    ("budget_gb", "place"), [(1, "1000 MB: memory"), (0.001, "1 MB: disk (cache)"), (0.001, "1 MB: no cache")]
)
def test_the_choice_is_logged_with_its_reason(
    cache_items: list[Item], caplog: pytest.LogCaptureFixture, budget_gb: float, place: str
) -> None:
    with caplog.at_level(logging.INFO, "delineate"):
        cached_dataset(cache_items * 100, large, "cache" if "disk" in place else None, budget_gb)
    assert caplog.messages == [f"cache: 700 items, 7 MB, budget {place}"]


@pytest.mark.parametrize("budget_gb", [1.0, 1e-6])
def test_cached_images_and_masks_have_8_bits(
    cache_items: list[Item], cache_way: Compose, tmp_path: Path, budget_gb: float
) -> None:
    data = cached_dataset(cache_items, cache_way, tmp_path / "cache", budget_gb)
    for _ in range(2):  # the second time from the cache
        assert {data[0][key].dtype for key in ("image", "label")} == {torch.uint8}
        assert set(data[0]["label"].unique().tolist()) == {0, 1}


def test_every_place_holds_the_same(cache_items: list[Item], cache_way: Compose, tmp_path: Path) -> None:
    places = [
        cached_dataset(cache_items, cache_way, folder, budget)
        for folder, budget in ((None, 1), (tmp_path / "cache", 1e-6), (None, 1e-6))
    ]
    for index in (0, 3, 3):
        memory, disk, anew = (data[index] for data in places)
        assert same(memory, anew)
        assert same(disk, anew)


class Locked:
    """Has a part that can't be taken apart."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, item: Item) -> Item:
        return {"image": torch.zeros(1)}


@pytest.mark.parametrize(
    ("transform", "why"),
    [
        (Compose([lambda item: {"image": torch.zeros(1)}]), "<lambda>"),
        (Locked(), "lock"),
        (Compose([make_way(), RandFlipd("image")]), "RandFlipd is random"),
    ],
)
def test_a_transform_whose_change_would_go_unnoticed_is_not_kept_on_disk(
    cache_items: list[Item], tmp_path: Path, caplog: pytest.LogCaptureFixture, transform: Any, why: str
) -> None:
    assert type(cached_dataset(cache_items, transform, tmp_path / "cache", budget_gb=0)) is Dataset
    assert why in caplog.messages[-1]
    assert not (tmp_path / "cache").exists()
