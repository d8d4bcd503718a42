from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from delineate.pipelines.duplicates.search import find_duplicates, signature
from delineate.pipelines.phantoms.chest import CLAVICLES, STRUCTURES, chest_phantom, write_chest_phantoms

SIDE = 128
SEEDS = range(8)


def middle(mask: np.ndarray) -> float:
    """How far right of the image's left edge a structure lies, 0-1."""
    return float(np.argwhere(mask)[:, 1].mean() / mask.shape[1])


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_patients_left_is_at_the_right_of_the_image(seed: int) -> None:
    _, masks = chest_phantom(seed, SIDE)
    for pair in (("right lung", "left lung"), ("right clavicle", "left clavicle"), ("right lung", "heart")):
        assert middle(masks[pair[0]]) < middle(masks[pair[1]]) - 0.1
    middle_of_lungs = (middle(masks["left lung"]) + middle(masks["right lung"])) / 2
    assert middle(masks["heart"]) > middle_of_lungs


@pytest.mark.parametrize("seed", SEEDS)
def test_structures_overlap_as_in_a_film(seed: int) -> None:
    _, masks = chest_phantom(seed, SIDE)
    for one, other in (("left clavicle", "left lung"), ("right clavicle", "right lung"), ("heart", "left lung")):
        assert (masks[one] & masks[other]).sum() > 0.1 * masks[one].sum()
    assert not (masks["left lung"] & masks["right lung"]).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_each_structure_is_one_part_of_plausible_size(seed: int) -> None:
    _, masks = chest_phantom(seed, SIDE)
    assert tuple(masks) == STRUCTURES
    for name, mask in masks.items():
        sizes = np.bincount(ndimage.label(mask, np.ones((3, 3)))[0].ravel())[1:]
        assert sizes.max() > 0.97 * sizes.sum()
        low, high = (0.005, 0.04) if name in CLAVICLES else (0.04, 0.3)
        assert low < mask.mean() < high


@pytest.mark.parametrize("seed", SEEDS)
def test_what_lies_over_a_lung_is_brighter_than_the_lung_around_it(seed: int) -> None:
    image, masks = chest_phantom(seed, SIDE)
    lungs = (masks["left lung"] | masks["right lung"]) == 1
    for name in ("heart", *CLAVICLES):
        over = masks[name] == 1
        around = ndimage.binary_dilation(over, iterations=8) & ~ndimage.binary_dilation(over, iterations=2)
        assert np.median(image[lungs & over]) > np.median(image[lungs & around]) + 8


def test_nothing_but_the_clavicle_changes_where_a_person_lacks_one() -> None:
    (image, masks), (without, fewer) = (chest_phantom(3, SIDE, lacking) for lacking in ((), ("left clavicle",)))
    assert not fewer["left clavicle"].any()
    for name in set(STRUCTURES) - {"left clavicle"}:
        np.testing.assert_array_equal(fewer[name], masks[name])
    away = ndimage.binary_dilation(masks["left clavicle"], iterations=4) == 0
    np.testing.assert_array_equal(image[away], without[away])
    assert np.median(image[masks["left clavicle"] == 1]) > np.median(without[masks["left clavicle"] == 1])


def test_films_are_deterministic_and_persons_differ(tmp_path: Path) -> None:
    first, again, other = (
        files(write_chest_phantoms(tmp_path / name, 1, seed, SIDE)) for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert first == again
    assert len(first) == 6
    assert all(first[name] != other[name] for name in first)


def test_written_masks_are_of_their_films_size_some_empty_some_not_there(tmp_path: Path) -> None:
    out = write_chest_phantoms(tmp_path, 10, side=SIDE)
    empty, missing = set(), set()
    for path in sorted((out / "images").iterdir()):
        assert read(path).shape == (SIDE, SIDE)
        for name in STRUCTURES:
            mask = out / "masks" / name / path.name
            if not mask.exists():
                missing.add((path.stem, name))
            elif not read(mask).any():
                empty.add((path.stem, name))
            else:
                assert read(mask).shape == (SIDE, SIDE)
                assert np.unique(read(mask)).tolist() == [0, 255]
    assert empty == {("phantom_0005", "left clavicle")}
    assert missing == {("phantom_0010", "left clavicle"), ("phantom_0010", "right clavicle")}


def test_persons_are_not_taken_for_copies_of_each_other() -> None:
    """Else indexing would keep them all in one split."""
    films = [signature(chest_phantom(seed, 192)[0][..., None]) for seed in range(1, 13)]
    assert len(find_duplicates(films)) <= 2
