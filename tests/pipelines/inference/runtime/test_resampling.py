"""What torch's ``interpolate`` gives."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from delineate.pipelines.inference.runtime.resampling import resize

SIDES = st.integers(2, 200)  # of one column torch makes something else of probabilities


def of_torch(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    plain = torch.from_numpy(image)[None]
    resized: np.ndarray = interpolate(plain, size=size, mode="bilinear", antialias=True, align_corners=False)[0].numpy()
    return resized


@settings(deadline=None, max_examples=40)
@given(shape=st.tuples(st.integers(1, 4), SIDES, SIDES), size=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
def test_of_whole_greys_it_is_the_same_to_the_bit(
    shape: tuple[int, int, int], size: tuple[int, int], seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(resize(image, size), of_torch(image, size))


def test_a_photo_of_the_usual_size_is_the_same_to_the_bit() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 767, 1022), dtype=np.uint8)
    assert np.array_equal(resize(image, (192, 192)), of_torch(image, (192, 192)))


@settings(deadline=None, max_examples=40)
@given(shape=st.tuples(st.integers(1, 3), SIDES, SIDES), size=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
def test_of_probabilities_it_is_the_same_but_for_rounding(
    shape: tuple[int, int, int], size: tuple[int, int], seed: int
) -> None:
    image = np.random.default_rng(seed).random(shape, dtype=np.float32)
    found = resize(image, size)
    assert found.dtype == np.float32
    assert np.abs(found - of_torch(image, size)).max() < 2e-6


def test_an_image_of_that_size_stays_as_it_is() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    assert np.array_equal(resize(image, (3, 4)), image)
