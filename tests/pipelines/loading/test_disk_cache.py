from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lean
import numpy as np
import pytest
import torch
from cache_parts import BYTES, Counted, Item, calls_for, make_way, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, Invertd, ScaleIntensityRanged
from PIL import Image

from delineate.pipelines.loading import caches
from delineate.pipelines.loading.caches import DiskDataset
from delineate.pipelines.loading.streams import refusal


def first_bytes(item: Item) -> Item:
    """Stands for a reader of series and volumes."""
    files = sorted(Path(item["image"]).iterdir()) if Path(item["image"]).is_dir() else [Path(item["image"])]
    return {"image": torch.tensor([file.read_bytes()[0] for file in files])}


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


def test_an_item_in_another_training_is_what_the_transform_gives(cache_items: list[Item], tmp_path: Path) -> None:
    first = DiskDataset(cache_items, make_way(), tmp_path / "cache")
    [first[i] for i in range(len(first))]
    again = DiskDataset(cache_items, make_way(), tmp_path / "cache")
    assert all(same(again[i], make_way()(item)) for i, item in enumerate(cache_items))


def test_a_kept_item_takes_a_prediction_back_to_its_own_grid(cache_items: list[Item], tmp_path: Path) -> None:
    DiskDataset(cache_items, make_way(), tmp_path / "cache")[0]
    way = make_way()
    item = DiskDataset(cache_items, way, tmp_path / "cache")[0]
    item |= {"pred": MetaTensor(item["label"].float())}
    to_network = ScaleIntensityRanged("image", 0, 255, 0, 1)
    inverse = Invertd("pred", Compose([*way.transforms[:2], to_network]), orig_keys="image", nearest_interp=False)
    assert inverse(to_network(item))["pred"].shape == (1, 20, 30)


def test_what_is_done_to_an_item_does_not_change_the_kept_one(
    cache_items: list[Item], cache_way: Compose, tmp_path: Path
) -> None:
    data = DiskDataset(cache_items, cache_way, tmp_path / "cache")
    before = data[0]["image"].clone()
    data[0]["image"] += 1
    assert torch.equal(data[0]["image"], before)


def test_what_cannot_be_kept_is_said_once_and_read_anew(
    cache_items: list[Item], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = DiskDataset(cache_items, Counted(unkeepable), tmp_path / "cache")
    assert [calls_for(data, i) for i in (0, 0, 1)] == [1, 1, 1]
    assert len(caplog.messages) == 1
    assert "let the transform give tensors, text and numbers" in caplog.messages[0]


def unkeepable(item: Item) -> Item:
    return {"image": Path(item["image"])}


# --- what makes an item be made again --------------------------------------------------------------------------


@pytest.fixture
def counted(cache_items: list[Item], cache_way: Compose, tmp_path: Path) -> DiskDataset:
    return DiskDataset(cache_items, Counted(cache_way), tmp_path / "cache")


def test_an_item_is_made_once(counted: DiskDataset) -> None:
    assert [calls_for(counted) for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize("key", ["image", "label"])
def test_a_changed_file_is_noticed_and_takes_the_place_of_the_old(
    counted: DiskDataset, cache_items: list[Item], tmp_path: Path, key: str
) -> None:
    old = counted[0]
    path = cache_items[0][key]
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    assert not torch.equal(counted[0][key], old[key])
    assert same(counted[0], make_way()(cache_items[0]))
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


def test_a_file_that_is_gone_is_not_served(cache_items: list[Item], counted: DiskDataset) -> None:
    counted[0]
    Path(cache_items[0]["image"]).unlink()
    with pytest.raises(RuntimeError) as caught:
        counted[0]
    assert str(refusal(caught.value)).startswith(f"{cache_items[0]['image']}: does not exist")


def test_transforms_with_other_parameters_have_entries_of_their_own(cache_items: list[Item], tmp_path: Path) -> None:
    small, large = (DiskDataset(cache_items, Counted(make_way(rows)), tmp_path / "cache") for rows in (16, 32))
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
    cache_items: list[Item], counted: DiskDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted[0]
    monkeypatch.setattr(caches, "versions", lambda: {"monai": "99"})
    newer = DiskDataset(cache_items, counted.transform, tmp_path / "cache")
    assert [calls_for(newer) for _ in range(2)] == [1, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_kernel_is_no_version_of_ours(monkeypatch: pytest.MonkeyPatch, cache_way: Compose) -> None:
    before = caches._recipe(cache_way)
    another = caches.versions() | {"platform": "another"}
    monkeypatch.setattr(caches, "versions", lambda: another)
    assert caches._recipe(cache_way) == before


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


def test_what_a_killed_training_left_is_tidied_up(
    counted: DiskDataset, cache_items: list[Item], cache_way: Compose
) -> None:
    counted[0]
    left = counted.folder / f".{'0' * 32}.tmp"
    left.write_bytes(b"half")
    DiskDataset(cache_items, cache_way, counted.folder)
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
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes:UserWarning")  # on one core
def test_two_processes_may_fill_it_at_once(counted: DiskDataset, cache_items: list[Item]) -> None:
    every = list(range(len(cache_items)))
    loader = DataLoader(counted, batch_sampler=[every, every, every, every], num_workers=2, collate_fn=list)
    right = [make_way()(item) for item in cache_items]
    assert all(same(list(batch), right) for batch in loader)
    assert len(list(counted.folder.iterdir())) == len(cache_items)
    assert sum(calls_for(counted, i) for i in every) == 0


@pytest.mark.slow
def test_another_process_finds_the_entries(cache_items: list[Item], cache_way: Compose, tmp_path: Path) -> None:
    data = DiskDataset(cache_items, cache_way, tmp_path / "cache")
    [data[i] for i in range(len(data))]
    written = {entry: entry.stat().st_ino for entry in data.folder.iterdir()}
    code = f"""
import lean
from delineate.pipelines.loading.caches import DiskDataset
from delineate.pipelines.loading.transforms import ReadImaged, ReadMaskd, ResizeToGridd
from monai.transforms import Compose
to_grid = [ReadImaged("image", "rgb"), ResizeToGridd("image", [16, 24])]
way = Compose([*to_grid, ReadMaskd("label"), ResizeToGridd("label", [16, 24], is_mask=True)])
data = DiskDataset({cache_items!r}, way, {str(data.folder)!r})
print([int(data[i]["image"].sum()) for i in range(len(data))])
"""
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(lean.__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([int(item["image"].sum()) for item in data])
    assert {entry: entry.stat().st_ino for entry in data.folder.iterdir()} == written


# --- a disk that takes no more -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_full_disk_is_reported_once_and_training_goes_on(
    counted: DiskDataset,
    cache_items: list[Item],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reason: int,
) -> None:
    counted[0]

    def refuse(path: Path, content: bytes) -> None:
        raise OSError(reason, os.strerror(reason), path)

    monkeypatch.setattr(caches, "write_atomically", refuse)
    assert [calls_for(counted, i) for i in (0, 1, 2, 1)] == [0, 1, 1, 1]
    assert same(counted[1], make_way()(cache_items[1]))
    assert caplog.messages == [
        f"cache: {counted.folder} takes no more, the rest is read again each time: {os.strerror(reason)}; "
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


@pytest.mark.usefixtures("capsys")  # keeps output in memory: a file of it would be cut off, too
def test_a_write_that_the_system_cuts_off_leaves_nothing(
    counted: DiskDataset, cache_items: list[Item], caplog: pytest.LogCaptureFixture
) -> None:
    with largest_file(BYTES // 2):
        assert same(counted[0], make_way()(cache_items[0]))
        assert calls_for(counted) == 1
    assert list(counted.folder.iterdir()) == []
    assert [os.strerror(errno.EFBIG) in message for message in caplog.messages] == [True]


def test_a_folder_that_cannot_be_made_is_reported_once(
    cache_items: list[Item], cache_way: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    data = DiskDataset(cache_items, Counted(cache_way), tmp_path / "file" / "cache")
    assert [calls_for(data) for _ in range(2)] == [1, 1]
    assert len(caplog.messages) == 1


def test_a_folder_that_is_removed_is_made_again(counted: DiskDataset) -> None:
    counted[0]
    for entry in counted.folder.iterdir():
        entry.unlink()
    counted.folder.rmdir()
    assert [calls_for(counted) for _ in range(2)] == [1, 0]
