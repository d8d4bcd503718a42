from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.datasets.layouts import explain, jsrt
from delineate.pipelines.imaging.item import Drawn

STRUCTURES = ("heart", "left clavicle", "left lung", "right clavicle", "right lung")


def scr(fold: str, *names: str) -> list[str]:
    return [f"{fold}/masks/{structure}/{name}.gif" for structure in STRUCTURES for name in names]


def test_masks_of_both_folds_belong_to_images_by_their_names(tmp_path: Path, touch: Callable[..., Path]) -> None:
    touch(tmp_path, "images/JPCLN001.png", "images/JPCNN002.png", *scr("fold1", "JPCLN001"), *scr("fold2", "jpcnn002"))
    assert explain(tmp_path)[0] == "jsrt"
    items, refused = jsrt(tmp_path)
    assert not refused
    assert [item.group for item in items] == ["JPCLN001", "JPCNN002"]
    assert items[0].structures == {name: Drawn((position,)) for position, name in enumerate(STRUCTURES)}
    assert [label.parent.name for label in items[1].label] == list(STRUCTURES)


def test_raw_images_are_refused_with_the_way_to_convert_them(tmp_path: Path, touch: Callable[..., Path]) -> None:
    touch(tmp_path, "JPCLN001.IMG", *scr("fold1", "JPCLN001"))
    items, refused = jsrt(tmp_path)
    assert not items
    assert [error.remedy for error in refused] == ["convert it to PNG: docs/structures.md"]


def test_what_has_no_partner_is_refused(tmp_path: Path, touch: Callable[..., Path]) -> None:
    touch(tmp_path, "images/JPCLN001.png", "images/JPCLN002.png", *scr("fold1", "JPCLN001", "JPCLN003"))
    items, refused = jsrt(tmp_path)
    assert len(items) == 1
    assert {Path(error.source).stem for error in refused} == {"JPCLN002", "JPCLN003"}


def test_gif_masks_of_half_the_size_are_indexed_where_they_may_be_resized(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(8):
        (tmp_path / "source/images").mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8))
        image.save(tmp_path / f"source/images/JPCLN{number:03}.png")
        for start, structure in enumerate(STRUCTURES):
            folder = tmp_path / f"source/fold{1 + number % 2}/masks/{structure}"
            folder.mkdir(parents=True, exist_ok=True)
            mask = np.zeros((32, 32), np.uint8)
            mask[start : start + 9, 4:12] = 255
            Image.fromarray(mask).save(folder / f"JPCLN{number:03}.gif")
    report = index_dataset(tmp_path / "source", out=tmp_path / "all", resize_masks=True)
    assert not report.refused
    assert report.structures == dict.fromkeys(STRUCTURES, (8, 0, 0))
