from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, Invertd, RandFlipd, ScaleIntensityRanged, reset_ops_id
from PIL import Image

from delineate.pipelines.data import caches
from delineate.pipelines.data.caches import DiskDataset, cached_dataset, estimate_bytes
from delineate.pipelines.data.datasets import refusal
from delineate.pipelines.transforms import ReadImaged, ReadMaskd, ResizeToGridd

BYTES = 3 * 16 * 24 + 16 * 24  # of one item on the grid of `way`: RGB and mask, 8 bits each
Item = dict[str, Any]


def make_items(folder: Path, names: str) -> list[Item]:
    rng = np.random.default_rng(0)
    found = []
    for name in names:
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        Image.fromarray(rng.integers(0, 2, (20, 30), dtype=np.uint8) * 255).save(folder / f"{name}_mask.png")
        found.append({"image": str(folder / f"{name}.png"), "label": str(folder / f"{name}_mask.png"), "group": name})
    return found


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    return make_items(tmp_path, "abcdefg")


def make_way(rows: int = 16) -> Compose:
    """What training does before the cache."""
    to_grid = [ReadImaged("image", "rgb"), ResizeToGridd("image", [rows, 24])]
    return Compose([*to_grid, ReadMaskd("label"), ResizeToGridd("label", [rows, 24], is_mask=True)])


@pytest.fixture
def way() -> Compose:
    return make_way()


class Counted:
    """A transform that counts its calls; the count is no parameter of it."""

    calls = 0

    def __init__(self, then: Callable[[Item], Item]) -> None:
        self.then = then

    def __call__(self, item: Item) -> Item:
        Counted.calls += 1
        return self.then(item)


def calls_for(data: Dataset, index: int = 0) -> int:
    """How often the transform is called for an item."""
    before = Counted.calls
    data[index]
    return Counted.calls - before


def first_bytes(item: Item) -> Item:
    """Stands for a reader of series and volumes."""
    files = sorted(Path(item["image"]).iterdir()) if Path(item["image"]).is_dir() else [Path(item["image"])]
    return {"image": torch.tensor([file.read_bytes()[0] for file in files])}


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types; transforms that did the same need not be the same object."""
    if isinstance(one, MetaTensor):
        parts = [(v.as_tensor(), v.meta, reset_ops_id(v.applied_operations)) for v in (one, other)]
        return same(*parts)
    if isinstance(one, torch.Tensor):
        return type(one) is type(other) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        alike = isinstance(one, tuple) == isinstance(other, tuple) and len(one) == len(other)
        return alike and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


# --- the choice ----------------------------------------------------------------------------------------------


def test_items_that_fit_are_kept_in_memory(items: list[Item], way: Compose) -> None:
    assert type(cached_dataset(items, way, budget_gb=1.0)) is CacheDataset


def test_items_that_do_not_fit_are_kept_on_disk(items: list[Item], way: Compose, tmp_path: Path) -> None:
    data = cached_dataset(items, way, tmp_path / "cache", budget_gb=1e-6)
    assert type(data) is DiskDataset
    assert len([data[i] for i in range(len(data))]) == len(list((tmp_path / "cache").iterdir()))


def test_without_a_folder_they_are_read_anew(items: list[Item], way: Compose) -> None:
    data = cached_dataset(items, Counted(way), budget_gb=1e-6)
    assert type(data) is Dataset
    assert [calls_for(data) for _ in range(3)] == [1, 1, 1]


def test_the_budget_is_met_to_the_byte(items: list[Item], way: Compose) -> None:
    needed = len(items) * BYTES
    assert type(cached_dataset(items, way, budget_gb=needed / 1e9 + 1e-12)) is CacheDataset
    assert type(cached_dataset(items, way, budget_gb=(needed - 1) / 1e9)) is Dataset


@pytest.mark.parametrize(("free", "kind"), [(14 * BYTES, CacheDataset), (14 * BYTES - 2, Dataset)])
def test_half_of_the_free_memory_is_the_budget(
    items: list[Item], way: Compose, monkeypatch: pytest.MonkeyPatch, free: int, kind: type
) -> None:
    memory = type("Memory", (), {"available": free})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert type(cached_dataset(items, way)) is kind


def test_the_estimate_is_exact_for_items_of_one_size(items: list[Item], way: Compose) -> None:
    for some in (items[:1], items[:3], items * 10):
        held = [value for item in CacheDataset(some, way, progress=False) for value in item.values()]
        true = sum(v.numel() * v.element_size() for v in held if isinstance(v, torch.Tensor))
        assert estimate_bytes(some, way) == true == len(some) * BYTES


def test_one_large_image_among_few_is_not_overlooked() -> None:
    sizes = [1, 1, 1, 1000, 1, 1, 1]
    assert estimate_bytes([{"image": size} for size in sizes], lambda item: {"i": torch.zeros(item["image"])}) == 4024


def test_nothing_takes_no_memory(way: Compose) -> None:
    assert estimate_bytes([], way) == 0


def large(_: Item) -> Item:
    return {"image": torch.zeros(2500)}


@pytest.mark.parametrize(
    ("budget_gb", "place"), [(1, "1000 MB: memory"), (0.001, "1 MB: disk (cache)"), (0.001, "1 MB: no cache")]
)
def test_the_choice_is_logged_with_its_reason(
    items: list[Item], caplog: pytest.LogCaptureFixture, budget_gb: float, place: str
) -> None:
    with caplog.at_level(logging.INFO, "delineate"):
        cached_dataset(items * 100, large, "cache" if "disk" in place else None, budget_gb)
    assert caplog.messages == [f"cache: 700 items, 7 MB, budget {place}"]


@pytest.mark.parametrize("budget_gb", [1.0, 1e-6])
def test_cached_images_and_masks_have_8_bits(items: list[Item], way: Compose, tmp_path: Path, budget_gb: float) -> None:
    data = cached_dataset(items, way, tmp_path / "cache", budget_gb)
    for _ in range(2):  # the second time from the cache
        assert {data[0][key].dtype for key in ("image", "label")} == {torch.uint8}
        assert set(data[0]["label"].unique().tolist()) == {0, 1}


def test_every_place_holds_the_same(items: list[Item], way: Compose, tmp_path: Path) -> None:
    places = [
        cached_dataset(items, way, folder, budget)
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
    items: list[Item], tmp_path: Path, caplog: pytest.LogCaptureFixture, transform: Any, why: str
) -> None:
    assert type(cached_dataset(items, transform, tmp_path / "cache", budget_gb=0)) is Dataset
    assert why in caplog.messages[-1]
    assert not (tmp_path / "cache").exists()


# --- what the disk gives back ----------------------------------------------------------------------------------

DTYPES = [torch.uint8, torch.bool, torch.int64, torch.float16, torch.float32, torch.float64]
TENSORS = st.builds(
    lambda shape, dtype: (torch.rand(shape) * 200).to(dtype),
    st.sampled_from([(), (0,), (3, 2, 1), (1, 0, 2), (2, 5)]),
    st.sampled_from(DTYPES),
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | TENSORS
VALUES = st.recursive(
    PLAIN, lambda v: st.lists(v) | st.lists(v).map(tuple) | st.dictionaries(st.text() | st.integers(), v), max_leaves=5
)
META = st.dictionaries(st.text(), VALUES, max_size=3)
IMAGES = st.builds(
    lambda pixels, meta, operations: MetaTensor(pixels, meta=meta, applied_operations=operations),
    TENSORS,
    META,
    st.lists(META, max_size=2),
)


@settings(max_examples=25)
@given(st.dictionaries(st.text(), VALUES | IMAGES, max_size=4))
def test_whatever_is_kept_comes_back_equal(item: Item) -> None:
    assert same(caches._unpack(caches._pack(item)), item)


def test_an_item_in_another_training_is_what_the_transform_gives(items: list[Item], tmp_path: Path) -> None:
    first = DiskDataset(items, make_way(), tmp_path / "cache")
    [first[i] for i in range(len(first))]
    again = DiskDataset(items, make_way(), tmp_path / "cache")
    assert all(same(again[i], make_way()(item)) for i, item in enumerate(items))


def test_a_kept_item_takes_a_prediction_back_to_its_own_grid(items: list[Item], tmp_path: Path) -> None:
    DiskDataset(items, make_way(), tmp_path / "cache")[0]
    way = make_way()
    item = DiskDataset(items, way, tmp_path / "cache")[0]
    item |= {"pred": MetaTensor(item["label"].float())}
    to_network = ScaleIntensityRanged("image", 0, 255, 0, 1)
    inverse = Invertd("pred", Compose([*way.transforms[:2], to_network]), orig_keys="image", nearest_interp=False)
    assert inverse(to_network(item))["pred"].shape == (1, 20, 30)


def test_what_is_done_to_an_item_does_not_change_the_kept_one(items: list[Item], way: Compose, tmp_path: Path) -> None:
    data = DiskDataset(items, way, tmp_path / "cache")
    before = data[0]["image"].clone()
    data[0]["image"] += 1
    assert torch.equal(data[0]["image"], before)


def test_what_cannot_be_kept_is_said_once_and_read_anew(
    items: list[Item], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = DiskDataset(items, Counted(unkeepable), tmp_path / "cache")
    assert [calls_for(data, i) for i in (0, 0, 1)] == [1, 1, 1]
    assert len(caplog.messages) == 1
    assert "let the transform give tensors, text and numbers" in caplog.messages[0]


def unkeepable(item: Item) -> Item:
    return {"image": Path(item["image"])}


# --- what makes an item be made again --------------------------------------------------------------------------


@pytest.fixture
def counted(items: list[Item], way: Compose, tmp_path: Path) -> DiskDataset:
    return DiskDataset(items, Counted(way), tmp_path / "cache")


def test_an_item_is_made_once(counted: DiskDataset) -> None:
    assert [calls_for(counted) for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize("key", ["image", "label"])
def test_a_changed_file_is_noticed_and_takes_the_place_of_the_old(
    counted: DiskDataset, items: list[Item], tmp_path: Path, key: str
) -> None:
    old = counted[0]
    path = items[0][key]
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    assert not torch.equal(counted[0][key], old[key])
    assert same(counted[0], make_way()(items[0]))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_file_as_large_and_as_old_as_the_one_before_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"1")
    data = DiskDataset([{"image": str(path)}], first_bytes, tmp_path / "cache")
    assert data[0]["image"].tolist() == [ord("1")]
    before = path.stat()
    time.sleep(0.05)  # the clock of files ticks slowly
    path.write_bytes(b"2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert data[0]["image"].tolist() == [ord("2")]


@pytest.mark.parametrize("change", ["more", "fewer", "other"])
def test_a_changed_series_is_noticed(tmp_path: Path, change: str) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for number in (1, 2):
        (series / f"{number}.dcm").write_bytes(b"1")
    data = DiskDataset([{"image": str(series)}], Counted(first_bytes), tmp_path / "cache")
    assert [calls_for(data) for _ in range(2)] == [1, 0]
    if change == "fewer":
        (series / "2.dcm").unlink()
    else:
        (series / ("3.dcm" if change == "more" else "2.dcm")).write_bytes(b"22")
    assert calls_for(data) == 1
    assert same(data[0], first_bytes(data.data[0]))


def test_changed_voxels_beside_a_header_are_noticed(tmp_path: Path) -> None:
    for name in ("a[1].mhd", "a[1].raw"):
        (tmp_path / name).write_bytes(b"1")
    data = DiskDataset([{"image": str(tmp_path / "a[1].mhd")}], Counted(first_bytes), tmp_path / "cache")
    assert [calls_for(data) for _ in range(2)] == [1, 0]
    (tmp_path / "a[1].raw").write_bytes(b"22")
    assert calls_for(data) == 1


def test_a_file_that_is_gone_is_not_served(items: list[Item], counted: DiskDataset) -> None:
    counted[0]
    Path(items[0]["image"]).unlink()
    with pytest.raises(RuntimeError) as caught:
        counted[0]
    assert str(refusal(caught.value)).startswith(f"{items[0]['image']}: does not exist")


def test_transforms_with_other_parameters_have_entries_of_their_own(items: list[Item], tmp_path: Path) -> None:
    small, large = (DiskDataset(items, Counted(make_way(rows)), tmp_path / "cache") for rows in (16, 32))
    assert small[0]["image"].shape[1] == 16
    assert large[0]["image"].shape[1] == 32
    assert calls_for(small) == calls_for(large) == 0


class Window:
    """A parameter that is an object; one of its attributes is private."""

    def __init__(self, low: float, names: frozenset[str], table: Any) -> None:
        self.low, self._names, self.table = low, names, table

    def __call__(self, item: Item) -> Item:
        return item


def window(low: float = 1.0, names: str = "abc", table: Any = (1, 2)) -> Compose:
    return Compose([Window(low, frozenset(names), np.array(table))])


def test_equal_transforms_are_described_alike() -> None:
    assert caches._recipe(window()) == caches._recipe(window())


@pytest.mark.parametrize(
    "other",
    [window(low=2.0), window(names="abd"), window(table=(1, 3)), window(table=(1.0, 2.0)), Compose([])],
)
def test_every_parameter_counts(other: Compose) -> None:
    assert caches._recipe(other)[0] != caches._recipe(window())[0]


def test_another_version_makes_all_again_in_place(
    items: list[Item], counted: DiskDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted[0]
    monkeypatch.setattr(caches, "versions", lambda: {"monai": "99"})
    newer = DiskDataset(items, counted.transform, tmp_path / "cache")
    assert [calls_for(newer) for _ in range(2)] == [1, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_kernel_is_no_version_of_ours(monkeypatch: pytest.MonkeyPatch, way: Compose) -> None:
    before = caches._recipe(way)
    another = caches.versions() | {"platform": "another"}
    monkeypatch.setattr(caches, "versions", lambda: another)
    assert caches._recipe(way) == before


def test_code_that_was_edited_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "own_transforms.py"
    module.write_text("def prepare(item):\n    return item\n")
    monkeypatch.syspath_prepend(tmp_path)
    import own_transforms

    before = caches._recipe(own_transforms.prepare)
    module.write_text("def prepare(item):\n    return {}\n")
    name, code = caches._recipe(own_transforms.prepare)
    assert name == before[0]
    assert code != before[1]


# --- entries that are not whole ----------------------------------------------------------------------------------


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), cut=st.booleans())
def test_a_damaged_entry_is_made_again(counted: DiskDataset, tmp_path: Path, share: float, cut: bool) -> None:
    right = counted[0]
    (entry,) = (tmp_path / "cache").iterdir()
    content = entry.read_bytes()
    place = int(share * len(content))
    entry.write_bytes(content[:place] + (b"" if cut else bytes([content[place] ^ 1]) + content[place + 1 :]))
    before = Counted.calls
    assert same(counted[0], right)
    assert Counted.calls == before + 1
    assert entry.read_bytes() == content


def test_damage_is_logged(counted: DiskDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counted[0]
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_bytes(entry.read_bytes()[:-1])
    counted[0]
    assert caplog.messages == [f"cache: {entry} is damaged; it is made again"]


def test_what_a_killed_training_left_is_tidied_up(counted: DiskDataset, items: list[Item], way: Compose) -> None:
    counted[0]
    left = counted.folder / f".{'0' * 32}.tmp"
    left.write_bytes(b"half")
    DiskDataset(items, way, counted.folder)
    assert not left.exists()
    assert calls_for(counted) == 0


def test_a_training_that_is_interrupted_leaves_nothing_half(
    counted: DiskDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        counted[0]
    assert list(counted.folder.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_may_fill_it_at_once(counted: DiskDataset, items: list[Item]) -> None:
    every = list(range(len(items)))
    loader = DataLoader(counted, batch_sampler=[every, every, every, every], num_workers=2, collate_fn=list)
    right = [make_way()(item) for item in items]
    assert all(same(list(batch), right) for batch in loader)
    assert len(list(counted.folder.iterdir())) == len(items)
    assert sum(calls_for(counted, i) for i in every) == 0


@pytest.mark.slow
def test_another_process_finds_the_entries(items: list[Item], way: Compose, tmp_path: Path) -> None:
    data = DiskDataset(items, way, tmp_path / "cache")
    [data[i] for i in range(len(data))]
    written = {entry: entry.stat().st_ino for entry in data.folder.iterdir()}
    code = f"""
from delineate.pipelines.data.caches import DiskDataset
from delineate.pipelines.transforms import ReadImaged, ReadMaskd, ResizeToGridd
from monai.transforms import Compose
to_grid = [ReadImaged("image", "rgb"), ResizeToGridd("image", [16, 24])]
way = Compose([*to_grid, ReadMaskd("label"), ResizeToGridd("label", [16, 24], is_mask=True)])
data = DiskDataset({items!r}, way, {str(data.folder)!r})
print([int(data[i]["image"].sum()) for i in range(len(data))])
"""
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([int(item["image"].sum()) for item in data])
    assert {entry: entry.stat().st_ino for entry in data.folder.iterdir()} == written


# --- a disk that takes no more -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_full_disk_is_reported_once_and_training_goes_on(
    counted: DiskDataset,
    items: list[Item],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reason: int,
) -> None:
    counted[0]

    def refuse(path: Path, content: bytes) -> None:
        raise OSError(reason, os.strerror(reason), path)

    monkeypatch.setattr(caches, "write_atomically", refuse)
    assert [calls_for(counted, i) for i in (0, 1, 2, 1)] == [0, 1, 1, 1]
    assert same(counted[1], make_way()(items[1]))
    assert caplog.messages == [
        f"cache: {counted.folder} takes no more, the rest is read anew each time: {os.strerror(reason)}; "
        "make room there, or set cache_dir to another folder"
    ]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_the_system_cuts_off_leaves_nothing(
    counted: DiskDataset, items: list[Item], caplog: pytest.LogCaptureFixture
) -> None:
    with largest_file(BYTES // 2):
        assert same(counted[0], make_way()(items[0]))
        assert calls_for(counted) == 1
    assert list(counted.folder.iterdir()) == []
    assert [os.strerror(errno.EFBIG) in message for message in caplog.messages] == [True]


def test_a_folder_that_cannot_be_made_is_reported_once(
    items: list[Item], way: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    data = DiskDataset(items, Counted(way), tmp_path / "file" / "cache")
    assert [calls_for(data) for _ in range(2)] == [1, 1]
    assert len(caplog.messages) == 1


def test_a_folder_that_is_removed_is_made_again(counted: DiskDataset) -> None:
    counted[0]
    for entry in counted.folder.iterdir():
        entry.unlink()
    counted.folder.rmdir()
    assert [calls_for(counted) for _ in range(2)] == [1, 0]
