from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from shared_data import SHARED

from delineate.pipelines.duplicates.search import (
    _ORIENTATIONS,
    SAME,
    Orientation,
    carry,
    find_duplicates,
    signature,
    turn,
)
from delineate.pipelines.imaging.pictures import read_image


def picture(seed: int, size: tuple[int, int] = (200, 240)) -> np.ndarray:
    """Clouds with structure of every size, as skin and speckle have."""
    generator = np.random.default_rng(seed)
    clouds = sum(
        sigma * gaussian_filter(generator.normal(size=(*size, 3)), (sigma, sigma, 0)) for sigma in (1, 3, 9, 27)
    )
    return np.clip(128 + 60 * clouds, 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def rotated(pixels: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).rotate(degrees, Image.Resampling.BICUBIC))


def covered(pixels: np.ndarray) -> np.ndarray:
    """A broad white ruler across, with its marks."""
    pixels = pixels.copy()
    pixels[60:100] = 240
    pixels[60:80, ::8] = 20
    return pixels


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored left to right": lambda pixels: pixels[:, ::-1],
    "mirrored top to bottom": lambda pixels: pixels[::-1],
    "turned by 180 degrees": lambda pixels: pixels[::-1, ::-1],
    "turned by 90 degrees": lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    "crop": lambda pixels: pixels[10:, :-12],
    "the same view": jpeg,
    "brightness": lambda pixels: np.clip(pixels * 1.1, 0, 255).astype(np.uint8),
    "stretched": lambda pixels: pixels[:, ::2],
    "turned by 5 degrees": lambda pixels: rotated(pixels, 5),
    "turned by 30 degrees": lambda pixels: rotated(pixels, 30),
    "mirrored and turned by 15 degrees": lambda pixels: rotated(pixels[:, ::-1], -15),
    "cut": lambda pixels: pixels[20:-20, 24:-24],
    "covered in part": lambda pixels: covered(pixels),
}


# Signatures


def test_grey_stored_as_colour_is_the_same_picture() -> None:
    grey = picture(0)[..., :1]
    assert signature(grey).sha256 == signature(np.repeat(grey, 3, axis=2)).sha256


def test_one_changed_pixel_is_another_hash() -> None:
    pixels = picture(0)
    changed = pixels.copy()
    changed[3, 4, 1] ^= 1
    assert signature(pixels).sha256 != signature(changed).sha256


def test_equal_bytes_in_another_shape_are_another_hash() -> None:
    pixels = np.zeros((4, 6, 1), np.uint8)
    assert signature(pixels).sha256 != signature(pixels.reshape(6, 4, 1)).sha256


def test_a_signature_is_small() -> None:
    assert signature(picture(0)).thumbnail.nbytes < 10_000


# What is found


def test_nothing_repeats_in_nothing() -> None:
    assert find_duplicates([]) == []


def test_equal_pictures_are_exact_duplicates_all_pairs_once() -> None:
    same = signature(picture(0))
    pairs = find_duplicates([same, signature(picture(1)), same, same])
    assert [(pair.first, pair.second, pair.exact, pair.difference) for pair in pairs] == [
        (0, 2, True, 0),
        (0, 3, True, 0),
        (2, 3, True, 0),
    ]


PLANTED = [signature(picture(seed)) for seed in range(3)] + [
    signature(pixels)
    for pixels in (
        picture(0)[:, ::-1],
        np.ascontiguousarray(picture(1)[15:, 10:]),
        np.asarray(Image.fromarray(picture(2)).rotate(5)),
        picture(0),
    )
]


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(len(PLANTED))))
def test_the_same_pairs_are_found_in_any_order(order: list[int]) -> None:
    pairs = find_duplicates([PLANTED[index] for index in order])
    found = {frozenset((order[pair.first], order[pair.second])): (pair.exact, pair.difference) for pair in pairs}
    assert found.keys() == {frozenset(both) for both in ((0, 3), (0, 6), (3, 6), (1, 4), (2, 5))}
    assert found == _FIRST.setdefault("found", found)


_FIRST: dict[str, object] = {}


@pytest.mark.parametrize("how", CHANGES)
def test_a_changed_copy_is_found_among_others_and_told(how: str) -> None:
    signatures = [signature(picture(seed)) for seed in range(4)] + [signature(CHANGES[how](picture(3)))]
    (pair,) = find_duplicates(signatures)
    assert {pair.first, pair.second} == {3, 4}
    assert not pair.exact
    assert how in pair.how


@pytest.mark.parametrize("how", ["turned by 5 degrees", "cut"])
def test_two_images_are_enough(how: str) -> None:
    assert len(find_duplicates([signature(picture(0)), signature(CHANGES[how](picture(0)))])) == 1


def test_different_pictures_with_the_same_frame_are_no_duplicates() -> None:
    pictures = [picture(seed) for seed in range(8)]
    for pixels in pictures:
        pixels[:30], pixels[-30:], pixels[:, :25], pixels[:, -25:] = 0, 0, 0, 0
        pixels[5:20, 40:90:6] = 255
    assert find_duplicates([signature(pixels) for pixels in pictures]) == []


def test_a_broad_black_frame_around_smooth_pictures_is_no_likeness() -> None:
    """A copy in a smaller size, centred in black: of skin, its four edges are all the detail there is."""

    def framed(seed: int) -> np.ndarray:
        canvas = np.zeros((256, 256, 3), np.uint8)
        canvas[38:218, 38:218] = gaussian_filter(picture(seed, (180, 180)), (12, 12, 0)) // 2 + 110
        return canvas

    assert find_duplicates([signature(framed(seed)) for seed in range(12)]) == []


def test_pictures_without_detail_are_duplicates_only_when_equal() -> None:
    flat = [signature(np.full((50, 60, 3), value, np.uint8)) for value in (0, 128, 129, 128)]
    assert [(pair.first, pair.second) for pair in find_duplicates(flat)] == [(1, 3)]


def test_the_transform_brings_the_second_onto_the_first() -> None:
    whole = picture(5)
    cut = whole[:, ::-1][12:190, 6:]
    (pair,) = find_duplicates([signature(cut), signature(whole)])
    assert pair.first == 0
    assert pair.transform[0] == pytest.approx((178 / 200, 0, 12 / 200), abs=0.004)
    assert pair.transform[1] == pytest.approx((0, -234 / 240, 1 - 6 / 240), abs=0.004)
    first, second = (signature(pixels).thumbnail for pixels in (cut, whole))
    seen = carry(second, pair.transform)
    assert np.corrcoef(seen[4:-4, 4:-4].ravel(), first[4:-4, 4:-4].ravel())[0, 1] > 0.98


@given(st.sampled_from(_ORIENTATIONS), st.sampled_from(_ORIENTATIONS))
def test_turning_twice_is_an_orientation_too(one: Orientation, other: Orientation) -> None:
    grid = np.arange(9).reshape(3, 3)
    twice = turn(turn(grid, one), other)
    assert sum(np.array_equal(twice, turn(grid, third)) for third in _ORIENTATIONS) == 1


def test_carrying_a_picture_nowhere_changes_nothing() -> None:
    thumbnail = signature(picture(0)).thumbnail
    np.testing.assert_allclose(carry(thumbnail, SAME), thumbnail, atol=1e-3)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data")
def test_known_duplicates_of_real_sets_are_found_and_no_others() -> None:
    busi, hc18 = SHARED / "Dataset_BUSI_with_GT", SHARED / "HC18/training_set"
    files = [busi / "benign/benign (433).png", busi / "malignant/malignant (145).png"]
    files += [
        hc18 / f"{name}HC.png" for name in ("392_", "392_2", "225_2", "295_", "343_", "362_", "537_")
    ]  # heads differ
    files += [busi / f"benign/benign ({number}).png" for number in (42, 400, 401)] + [
        busi / "malignant/malignant (51).png"
    ]
    files = [path for path in files if path.is_file()]
    pairs = find_duplicates([signature(read_image(path, "rgb")) for path in files])
    named = {frozenset((files[pair.first].stem, files[pair.second].stem)): pair.exact for pair in pairs}
    assert named == {
        frozenset(("benign (433)", "malignant (145)")): True,
        frozenset(("392_HC", "392_2HC")): True,
        frozenset(("benign (42)", "malignant (51)")): False,
    }
