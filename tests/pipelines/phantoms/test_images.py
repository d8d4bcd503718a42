from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from delineate.pipelines.phantoms.images import SIZES, phantom, write_phantoms

SEEDS = range(12)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("size", SIZES)
def test_phantom_has_the_size_asked_for(size: tuple[int, int]) -> None:
    image, mask = phantom(3, size)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert (mask.shape, mask.dtype) == (size, np.uint8)


def test_same_seed_gives_same_phantom() -> None:
    for one, other in zip(phantom(5, (60, 80)), phantom(5, (60, 80)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_seed_gives_other_lesion() -> None:
    assert (phantom(5, (60, 80))[1] != phantom(6, (60, 80))[1]).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_mask_is_one_lesion_of_plausible_size(seed: int) -> None:
    mask = phantom(seed, SIZES[seed % len(SIZES)])[1]
    assert np.unique(mask).tolist() == [0, 1]
    sizes = np.bincount(ndimage.label(mask)[0].ravel())[1:]
    assert sizes.max() > 0.99 * sizes.sum()
    assert 0.01 < mask.mean() < 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_lesion_is_darker_than_the_skin_around_it(seed: int) -> None:
    image, mask = phantom(seed, SIZES[seed % len(SIZES)])
    around = ndimage.binary_dilation(mask, iterations=15) & ~ndimage.binary_dilation(mask, iterations=5)
    green = image[..., 1]
    assert np.median(green[mask == 1]) < 0.92 * np.median(green[around])


def test_write_phantoms_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [write_phantoms(tmp_path / name, 3, seed=7) for name in "ab"]
    first, second = ({p.relative_to(f): p.read_bytes() for p in f.glob("*/*")} for f in folders)
    assert first == second
    assert len(first) == 6


def test_write_phantoms_with_another_seed_gives_other_pictures(tmp_path: Path) -> None:
    files = [write_phantoms(tmp_path / str(seed), 1, seed) / "images/phantom_0001.jpg" for seed in (0, 1)]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_written_masks_are_0_and_255_and_fit_their_images(tmp_path: Path) -> None:
    out = write_phantoms(tmp_path, len(SIZES))
    sizes = set()
    for path in sorted((out / "images").glob("*.jpg")):
        mask = read(out / "masks" / f"{path.stem}.png")
        assert mask.shape == read(path).shape[:2]
        assert np.unique(mask).tolist() == [0, 255]
        sizes.add(mask.shape)
    assert sizes == set(SIZES)
