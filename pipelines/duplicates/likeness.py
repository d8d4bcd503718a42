"""The second search for pictures that show the same: by local features, for what was turned, cut far in or covered.

Pictures that share rare visual words are candidates (https://doi.org/10.1109/ICCV.2003.1238663); `alignment` decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .alignment import confirm, transforms
from .features import MIRROR, Features, features

Array = NDArray[Any]

_WORDS, _NEAREST = 16384, 4  # of the vocabulary; of a feature
_CANDIDATES = 16  # of a picture
_FEWEST_AGREE, _LEAST_SHARED = 0.5, 0.25  # share of tiles; share of the first picture that the second shows
_ROWS = 1024  # of a block, to keep memory flat


class Alike(NamedTuple):
    """Two pictures that show the same.

    Attributes:
        first: index of one.
        second: index of the other.
        agree: share of the tiles that agree where both show something, 0-1.
        transform: (2, 3): where a place (row, column) of the first lies in the second, in pixels.
    """

    first: int
    second: int
    agree: float
    transform: Array


def find_alike(
    pictures: Sequence[NDArray[np.uint8]], known: set[tuple[int, int]], proposed: Mapping[tuple[int, int], Array]
) -> list[Alike]:
    """Pairs of pictures that agree when laid onto each other, sorted by index.

    Args:
        pictures: (H, W), grey, 0-255, the longer sides alike.
        known: pairs not to be looked at.
        proposed: further candidates, and a transform (2, 3), in pixels, that may lay the first on the second.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:  # scipy's filters leave the interpreter free
        described = list(pool.map(features, pictures))
        pairs = sorted({*_candidates(described), *proposed} - known)
        found = pool.map(partial(_compare, described, proposed), pairs)
        return [one for one in found if one]


def _compare(
    described: Sequence[Features], proposed: Mapping[tuple[int, int], Array], pair: tuple[int, int]
) -> Alike | None:
    """The best of the ways to lay one on the other, as it is, mirrored or as proposed, where they agree."""
    first, second = pair
    one, other = described[first], described[second]
    best: Alike | None = None
    for transform in [*transforms(one, other), *([proposed[pair]] if pair in proposed else [])]:
        refined, agree, shared = confirm(one, other, transform)
        if agree >= max(_FEWEST_AGREE, best.agree if best else 0) and shared >= _LEAST_SHARED:
            best = Alike(first, second, agree, refined)
    return best


def _candidates(described: Sequence[Features]) -> list[tuple[int, int]]:
    """For each picture those that share most rare words with it, as it is or mirrored; sorted pairs of indices."""
    owners = np.repeat(np.arange(len(described)), [len(one.sizes) for one in described])
    descriptors = np.concatenate([one.descriptors for one in described]) if described else np.zeros((0, len(MIRROR)))
    if len(descriptors) < 2:
        return []
    words = descriptors[:: -(-len(descriptors) // _WORDS)].T
    plain, mirrored = (_said(values, words, owners, len(described)) for values in (descriptors, descriptors * MIRROR))
    rarity = np.log1p(len(described) / np.maximum(plain.sum(axis=0), 1)).astype(np.float32)
    weighted = (plain * rarity**2).tocsr()
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(described), _ROWS):
        block = slice(start, start + _ROWS)
        shared = [one[block] @ weighted.T for one in (plain, mirrored)]
        likeness = np.maximum(*(one.toarray() for one in shared))
        for row, values in enumerate(likeness, start):
            values[row] = 0
            best = np.argsort(-values, kind="stable")[:_CANDIDATES]
            pairs.update((min(row, int(one)), max(row, int(one))) for one in best if values[one] > 0)
    return sorted(pairs)


def _said(descriptors: Array, words: Array, owners: Array, count: int) -> csr_array:
    """Which words each picture says: (count, words) of 0 and 1, by the nearest words of each feature."""
    nearest = np.concatenate(list(_nearest(descriptors, words)))
    rows = np.repeat(owners, nearest.shape[1])
    said = csr_array((np.ones(len(rows), np.float32), (rows, nearest.ravel())), shape=(count, words.shape[1]))
    said.sum_duplicates()
    said.data[:] = 1
    return said


def _nearest(descriptors: Array, words: Array) -> Iterator[Array]:
    number = min(_NEAREST, words.shape[1])
    for start in range(0, len(descriptors), _ROWS):
        cosines = descriptors[start : start + _ROWS] @ words
        nearest = np.empty((len(cosines), number), np.intp)
        for one in nearest.T:  # five times as fast as a partition
            one[:] = cosines.argmax(axis=1)
            cosines[np.arange(len(cosines)), one] = -np.inf
        yield nearest
