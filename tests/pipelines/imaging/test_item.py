from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.item import Drawn, Item
from delineate.pipelines.imaging.reading import read_masks
from delineate.pipelines.imaging.structures import UNANNOTATED, refuse_overlap

HASHES = st.text("0123456789abcdef", min_size=1, max_size=4)
POSITIONS = st.none() | st.lists(st.integers(0, 3), max_size=3).map(tuple)
FIELDS: dict[str, Any] = {
    "image": st.lists(st.sampled_from(["/a.png", "/b.png"]).map(Path), min_size=1, max_size=2).map(tuple),
    "label": st.lists(st.sampled_from(["/m.png", "/n.png"]).map(Path), max_size=2).map(tuple),
    "group": HASHES,
    "class_name": HASHES,
    "slice": st.none() | st.integers(0, 9),
    "spacing": st.none() | st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)),
    "label_is": st.sampled_from([None, "outline", "jpeg"]),
    "structures": st.dictionaries(HASHES, st.none() | st.builds(Drawn, POSITIONS, POSITIONS), max_size=3),
    "area": st.none() | st.floats(0, 1),
    "areas": st.dictionaries(HASHES, st.none() | st.floats(0, 1), max_size=3),
    "image_sha256": st.lists(HASHES, max_size=2).map(tuple),
    "more": st.dictionaries(st.sampled_from(["device", "camera"]), HASHES),
}


@given(st.builds(Item, **FIELDS))
def test_an_item_is_read_as_it_was_written(item: Item) -> None:
    assert Item.from_fields(json.loads(json.dumps(item.as_fields()))) == item


# Its structures


def draw(path: Path, *values: int) -> Path:
    Image.fromarray(np.array([[0, *values]], np.uint8)).save(path)
    return path


def test_structures_are_files_or_values_of_one(tmp_path: Path) -> None:
    label = (draw(tmp_path / "map.png", 1, 2, 3), draw(tmp_path / "heart.png", 0, 255, 0))
    item = Item(
        image=(Path("a.png"),),
        label=label,
        structures={"disc": Drawn((0,), (1, 2)), "cup": Drawn((0,), (2,)), "heart": Drawn((1,))},
    )
    masks = read_masks(item, ["heart", "disc", "cup"])
    assert masks.tolist() == [[[0, 0, 1, 0]], [[0, 1, 1, 0]], [[0, 0, 1, 0]]]


def test_what_nobody_annotated_differs_from_what_is_not_there(tmp_path: Path) -> None:
    label = (draw(tmp_path / "lung.png", 255, 0),)
    item = Item.of("a.png", *label, structures={"lung": Drawn((0,)), "heart": None, "clavicle": Drawn(())})
    masks = read_masks(item, ["lung", "heart", "clavicle", "liver"])
    assert masks.max(axis=(1, 2)).tolist() == [1, UNANNOTATED, 0, UNANNOTATED]
    assert masks.min(axis=(1, 2)).tolist() == [0, UNANNOTATED, 0, UNANNOTATED]


def test_the_only_structure_asked_for_is_all_of_a_plain_label(tmp_path: Path) -> None:
    item = Item.of("a.png", draw(tmp_path / "m.png", 255, 0))
    assert read_masks(item, []).tolist() == read_masks(item, ["lesion"]).tolist() == [[[0, 1, 0]]]


def test_masks_of_two_sizes_are_refused_with_the_structure(tmp_path: Path) -> None:
    label = draw(tmp_path / "a.png", 255), draw(tmp_path / "b.png", 255, 0)
    item = Item.of("a.png", *label, structures={"lung": Drawn((0,)), "heart": Drawn((1,))})
    with pytest.raises(InputError, match=r"b\.png: mask is 3x1, mask of lung of the same image is 2x1"):
        read_masks(item, ["lung", "heart"])


def test_overlapping_masks_of_exclusive_structures_are_refused_with_their_names() -> None:
    masks = np.array([[[1, 1, 0]], [[UNANNOTATED] * 3], [[0, 1, 1]]], np.uint8)
    with pytest.raises(InputError, match="a and c overlap in 1 pixel, but the bundle's structures are exclusive"):
        refuse_overlap("m.png", ["a", "b", "c"], masks)
    refuse_overlap("m.png", ["a", "b"], masks[:2])
