from __future__ import annotations

from pathlib import Path
from typing import Any

from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.datasets.seen import SEEN, marks, marks_of, read_seen, write_seen
from delineate.pipelines.imaging.item import Item


def item(name: str, folder: str = "a", **more: Any) -> Item:
    return Item.of(f"/{folder}/{name}.png", group=name, image_sha256=(name * 64,), **more)


def test_an_image_is_known_wherever_it_lies_and_its_slices_apart() -> None:
    assert marks(item("a")) == marks(item("a", "elsewhere"))
    assert not marks(item("a")) & marks(item("b"))
    assert not marks(item("a", slice=1)) & marks(item("a", slice=2))


def test_a_copy_in_another_format_is_known_by_its_pixels() -> None:
    assert marks(item("a", pixels_sha256="1" * 64)) & marks(item("b", pixels_sha256="1" * 64))
    assert not marks(item("a", pixels_sha256="1" * 64)) & marks(item("b", pixels_sha256="2" * 64))


def test_a_file_is_known_where_an_older_list_of_seen_images_has_its_hash_alone() -> None:
    assert marks(item("a")) < marks(item("a", pixels_sha256="1" * 64))


def test_training_and_validation_images_are_seen_and_those_of_the_test_split_are_not(tmp_path: Path) -> None:
    lists = {"training": [item("a")], "validation": [item("b")], "test": [item("c")]}
    Datalist(folder=tmp_path, lists=lists).write()  # type: ignore[arg-type]
    assert marks_of(tmp_path) == marks(item("a")) | marks(item("b"))


def test_what_was_seen_before_stays(tmp_path: Path) -> None:
    write_seen(tmp_path / SEEN, ["one"])
    write_seen(tmp_path / SEEN, ["two"])
    assert read_seen(tmp_path / SEEN) == {"one", "two"}


def test_a_run_that_says_nothing_has_seen_nothing_that_is_known(tmp_path: Path) -> None:
    assert read_seen(tmp_path / SEEN) == frozenset()
    (tmp_path / "damaged.json").write_text("[")
    assert read_seen(tmp_path / "damaged.json") == frozenset()
