"""Which results are done, and what is left of one that was being written when its process was killed."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from segmentations import segmentation

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.inference.files import OutputOptions
from delineate.pipelines.inference.results import ResultFolder

FACTS = {"bundle": "ab12", "delineate": "1.0"}
OVERLAY = OutputOptions(overlay=True)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    (tmp_path / "photos").mkdir()
    files = [tmp_path / "photos" / f"{name}.png" for name in "abc"]
    for number, file in enumerate(files):
        Image.fromarray(np.full((4, 6, 3), number, np.uint8)).save(file)
    return files


def opened(folder: Path, facts: dict[str, str] | None = None, **more: Any) -> ResultFolder:
    return ResultFolder(folder, facts or FACTS, {"": 0.5}, **{"options": OVERLAY, "settings": {"tta": None}} | more)


def segment(folder: ResultFolder, files: list[Path]) -> list[str]:
    """Make what is not done; the names of what was made."""
    items = [item for item in map(Item.of, files) if not folder.is_done(item)]
    for item in items:
        folder.write(segmentation(item.file, np.full((4, 6), item.file.stem != "b", np.uint8), item=item))
    return [item.file.stem for item in items]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["input"])


def test_what_is_done_is_not_made_again(tmp_path: Path, photos: list[Path]) -> None:
    assert segment(opened(tmp_path / "out"), photos[:2]) == ["a", "b"]
    again = opened(tmp_path / "out")
    assert segment(again, photos) == ["c"]
    assert again.done == 2
    assert segment(opened(tmp_path / "out"), photos) == []


def touch_input(out: Path, photo: Path) -> dict[str, Any]:
    Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(photo)
    return {}


def cut_mask(out: Path, photo: Path) -> dict[str, Any]:
    (out / "a_mask.png").write_bytes((out / "a_mask.png").read_bytes()[:-30])
    return {}


def remove_overlay(out: Path, photo: Path) -> dict[str, Any]:
    (out / "a_overlay.png").unlink()
    return {}


OTHERS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "input": touch_input,
    "mask cut": cut_mask,
    "overlay gone": remove_overlay,
    "bundle": lambda *_: {"facts": FACTS | {"bundle": "cd34"}},
    "version": lambda *_: {"facts": FACTS | {"delineate": "1.1"}},
    "settings": lambda *_: {"settings": {"tta": "flips"}},
    "options": lambda *_: {"options": OutputOptions(overlay=True, probability=True)},
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_differs_is_made_anew_and_in_its_place(tmp_path: Path, photos: list[Path], what: str) -> None:
    out = tmp_path / "out"
    segment(opened(out), photos)
    before = set(files(out))
    more = OTHERS[what](out, photos[0])
    assert segment(opened(out, **more), photos) == (["a", "b", "c"] if more else ["a"])
    assert [Path(row["input"]).stem for row in rows(out)] == ["a", "b", "c"]
    assert set(files(out)) - {f"{name}_probability.png" for name in "abc"} == before
    assert segment(opened(out, **more), photos) == []


def correct(mask: Path) -> bytes:
    """As a person does, with a program that saves in colours."""
    Image.fromarray(255 - np.asarray(Image.open(mask))).convert("RGBA").save(mask)
    return mask.read_bytes()


@pytest.mark.parametrize("what", ["nothing", "bundle", "version", "settings", "options"])
def test_a_mask_that_was_changed_by_hand_is_passed_over_whatever_else_differs(
    tmp_path: Path, photos: list[Path], what: str
) -> None:
    out = tmp_path / "out"
    segment(opened(out), photos)
    more = OTHERS[what](out, photos[0]) if what in OTHERS else {}
    corrected = correct(out / "a_mask.png")
    again = opened(out, **more)
    assert segment(again, photos) == (["b", "c"] if more else [])
    assert again.changed == 1
    assert (out / "a_mask.png").read_bytes() == corrected


@pytest.mark.parametrize("settings", [{"tta": None}, None])
def test_a_mask_that_was_changed_by_hand_is_not_replaced(
    tmp_path: Path, photos: list[Path], settings: dict[str, Any] | None
) -> None:
    """With ``settings=None`` as MONAI's stock runs write."""
    first = segmentation(photos[0], np.ones((4, 6), np.uint8))
    opened(tmp_path, settings=settings).write(first)
    corrected, before = correct(tmp_path / "a_mask.png"), files(tmp_path)
    with pytest.raises(InputError, match=r"a_mask\.png was changed since Delineate wrote it, and would be lost"):
        opened(tmp_path, settings=settings).write(first)
    assert files(tmp_path) == before
    (tmp_path / "a_mask.png").rename(tmp_path / "mine.png")
    opened(tmp_path, settings=settings).write(first)
    assert (tmp_path / "mine.png").read_bytes() == corrected != (tmp_path / "a_mask.png").read_bytes()


def test_save_does_not_replace_a_mask_that_was_changed_by_hand(tmp_path: Path, photos: list[Path]) -> None:
    first = segmentation(photos[0], np.ones((4, 6), np.uint8))
    opened(tmp_path).write(first)
    first.save(tmp_path)
    corrected = correct(tmp_path / "a_mask.png")
    with pytest.raises(InputError, match=r"a_mask\.png was changed since Delineate wrote it, and would be lost"):
        first.save(tmp_path)
    assert (tmp_path / "a_mask.png").read_bytes() == corrected


def test_save_replaces_its_own_mask_and_nobody_else_s(tmp_path: Path, photos: list[Path]) -> None:
    first = segmentation(photos[0], np.ones((4, 6), np.uint8))
    for target in (tmp_path / "out", tmp_path / "own.png"):
        mask = first.save(target)
        assert first.save(target) == mask
        corrected = correct(mask)
        with pytest.raises(InputError, match=rf"would replace .*{mask.name}, which is not as Delineate drew it; move"):
            first.save(target)
        assert mask.read_bytes() == corrected


def test_save_does_not_replace_the_image(tmp_path: Path, photos: list[Path]) -> None:
    before = photos[0].read_bytes()
    with pytest.raises(InputError, match=f"would replace .*{photos[0].name}"):
        segmentation(photos[0], np.ones((4, 6), np.uint8)).save(photos[0].with_suffix(".png"))
    assert photos[0].read_bytes() == before


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_images_and_masks_that_were_moved_or_copied_together_are_known(
    tmp_path: Path, photos: list[Path], move: Callable[[Path, Path], object], correction: bool
) -> None:
    segment(opened(tmp_path / "out"), photos)
    corrected = correct(tmp_path / "out/a_mask.png") if correction else b""
    for name in ("photos", "out"):
        move(tmp_path / name, tmp_path / "elsewhere" / name)
    elsewhere, there = [tmp_path / "elsewhere/photos" / photo.name for photo in photos], tmp_path / "elsewhere/out"
    before, again = set(files(there)), opened(there)
    assert segment(again, elsewhere) == []
    assert again.changed == correction
    again.flush()
    assert set(files(there)) == before
    assert [row["input"] for row in rows(there)] == list(map(str, elsewhere))
    assert segment(opened(there), elsewhere) == []
    assert not correction or (there / "a_mask.png").read_bytes() == corrected


def test_images_that_were_moved_away_from_their_masks_are_known(tmp_path: Path, photos: list[Path]) -> None:
    segment(opened(tmp_path / "out"), photos)
    shutil.move(tmp_path / "photos", tmp_path / "archive")
    assert segment(opened(tmp_path / "out"), [tmp_path / "archive" / photo.name for photo in photos]) == []


def test_a_corrected_mask_of_an_image_that_was_moved_is_not_replaced(tmp_path: Path, photos: list[Path]) -> None:
    mask = np.ones((4, 6), np.uint8)
    opened(tmp_path, settings=None).write(segmentation(photos[0], mask))
    correct(tmp_path / "a_mask.png")
    moved = photos[0].rename(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a_mask\.png was changed since Delineate wrote it, and would be lost"):
        opened(tmp_path, settings=None).write(segmentation(moved, mask))


@pytest.mark.parametrize("other", ["copied/a.png", "renamed.png", "changed/a.png"])
def test_what_is_another_image_has_a_result_of_its_own(tmp_path: Path, photos: list[Path], other: str) -> None:
    """A copy beside which the first still lies, one of another name, and one with other pixels in the first's place."""
    segment(opened(tmp_path / "out"), photos)
    copy = tmp_path / other
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(photos[0], copy)
    if "copied" not in other:
        photos[0].unlink()
    if "changed" in other:
        touch_input(tmp_path, copy)
    before = rows(tmp_path / "out")
    assert segment(opened(tmp_path / "out"), [copy]) == [copy.stem]
    assert [row for row in rows(tmp_path / "out") if row["input"] != str(copy)] == before


def test_the_same_bytes_on_another_server_are_another_image(tmp_path: Path, photos: list[Path]) -> None:
    """Fetched files are temporary: a URL stands in the table for each."""
    mask = np.ones((4, 6), np.uint8)
    for server in ("http://one", "http://two"):
        folder = opened(tmp_path / "out")
        assert not folder.is_done(Item.of(photos[0]), lambda _, server=server: f"{server}/a.png")
        folder.write(segmentation(photos[0], mask), lambda _, server=server: f"{server}/a.png")
    assert [row["input"] for row in rows(tmp_path / "out")] == ["http://one/a.png", "http://two/a.png"]


def test_a_row_of_before_does_not_tell_whether_its_mask_was_changed(tmp_path: Path, photos: list[Path]) -> None:
    segment(opened(tmp_path), photos[:1])
    table = (tmp_path / "results.csv").read_text(encoding="utf-8-sig")
    digest = rows(tmp_path)[0]["files_sha256"]
    (tmp_path / "results.csv").write_text(table.replace(",files_sha256,", ",").replace(f",{digest},", ","))
    correct(tmp_path / "a_mask.png")
    assert segment(opened(tmp_path), photos[:1]) == ["a"]


def test_a_row_without_record_is_of_no_known_settings(tmp_path: Path, photos: list[Path]) -> None:
    segment(opened(tmp_path, settings=None), photos[:1])
    assert [row["record"] for row in rows(tmp_path)] == [""]
    assert segment(opened(tmp_path), photos[:1]) == ["a"]


def test_an_input_that_cannot_be_read_is_not_done(tmp_path: Path, photos: list[Path]) -> None:
    segment(opened(tmp_path), photos[:1])
    photos[0].unlink()
    assert not opened(tmp_path).is_done(Item.of(photos[0]))


def test_a_note_that_a_stranger_left_removes_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "kept.png").write_bytes(b"kept")
    (tmp_path / "out" / ".delineate.pending").write_text(f'["../kept.png", "{tmp_path}/kept.png"]')
    opened(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["kept.png"]
    assert files(tmp_path / "out") == {}


# killed


def _killed_at(step: int, out: Path, photos: list[Path]) -> None:
    """Segment in this process, which is killed at the given call of those that change the folder."""
    steps = iter(range(step))

    def killing(name: str, owner: Any) -> Iterator[None]:
        own = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return own(*args, **kwargs)

        setattr(owner, name, call)
        yield

    for name, owner in (("replace", os), ("unlink", Path), ("write_text", Path), ("fsync", os), ("stat", Path)):
        next(killing(name, owner))
    segment(opened(out), photos)


@pytest.mark.parametrize("before", ["nothing", "other masks"])
def test_killed_at_any_step_nothing_is_lost_and_nothing_twice(tmp_path: Path, photos: list[Path], before: str) -> None:
    photos = photos[:2]  # one with a mask that is not empty, one with one that is

    def begin(out: Path) -> None:
        if before == "other masks":
            segment(opened(out, options=OutputOptions(probability=True)), photos)

    begin(tmp_path / "whole")
    segment(opened(tmp_path / "whole"), photos)
    whole, fork = files(tmp_path / "whole"), get_context("fork")
    for step in range(1000):
        out = tmp_path / f"killed_{step}"
        begin(out)
        process = fork.Process(target=_killed_at, args=(step, out, photos))
        process.start()
        process.join(60)
        segment(opened(out), photos)
        found = files(out)
        assert rows(out) == rows(tmp_path / "whole"), step
        assert {**found, "results.csv": b""} == {**whole, "results.csv": b""}, step
        if process.exitcode == 0:
            break
    assert process.exitcode == 0
    assert step > 10
