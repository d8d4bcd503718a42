"""Two pictures laid onto each other by their features, and whether they then agree in detail.

A transform is an affine one, (2, 3): it tells for rows and columns of the first picture where they lie in the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from .features import DETAIL_UNIT, MIRROR, Features

Array = NDArray[Any]

_ALIKE = 0.75  # least cosine of two descriptors that match
_TOLERANCE, _LARGEST = 0.04, 2.5  # of a place, in sides of the picture; of a scale
_FEWEST = 5  # matches that agree
_TILE = 16  # pixels
_AGREE = 0.5  # correlation from which a tile agrees
_FEWEST_TILES = 24


def transforms(one: Features, other: Features) -> Iterator[Array]:
    """How the first may lie in the second, as it is and mirrored, where enough matches agree.

    Every match proposes a similarity by its places, sizes and angles, and the one on which most agree is fitted to
    these: consensus as in RANSAC (https://doi.org/10.1145/358669.358692), but of all proposals, so nothing is drawn.

    Args:
        one: features of the first picture.
        other: of the second.
    """
    for flip in (1, -1):
        cosines = (one.descriptors * (MIRROR if flip < 0 else 1)) @ other.descriptors.T
        if not cosines.size:
            return
        best = cosines.argmax(axis=1)
        mutual = (cosines.argmax(axis=0)[best] == np.arange(len(best))) & (cosines.max(axis=1) > _ALIKE)
        mine = np.flatnonzero(mutual)
        if len(mine) >= _FEWEST:
            number, transform = _consensus(one, other, mine, best[mine], flip, _TOLERANCE * max(other.detail.shape))
            if number >= _FEWEST:
                yield transform


def _consensus(
    one: Features, other: Features, mine: Array, theirs: Array, flip: int, tolerance: float
) -> tuple[int, Array]:
    here, there = one.places[mine].astype(float), other.places[theirs].astype(float)
    scale = other.sizes[theirs] / one.sizes[mine]
    linear = scale[:, None, None] * (_rotation(other.angles[theirs]) * [flip, 1] @ _rotation(-one.angles[mine]))
    shift = there - (linear @ here[..., None])[..., 0]
    seen = np.einsum("hij,mj->hmi", linear, here) + shift[:, None]
    agree = np.hypot(*np.moveaxis(seen - there, -1, 0)) < tolerance
    agree &= abs(np.log(scale / scale[:, None])) < 0.4
    agree[abs(np.log(scale)) > np.log(_LARGEST)] = False
    kept = agree[agree.sum(axis=1).argmax()]
    transform = _fit(here[kept], there[kept])
    for _ in range(2):
        close = np.linalg.norm(apply(transform, here) - there, axis=1) < tolerance / 2
        if close.sum() < _FEWEST:
            break
        kept, transform = close, _fit(here[close], there[close])
    return int(kept.sum()), transform


def _rotation(angles: Array) -> Array:
    """(N, 2, 2), of (row, column) by angles from the columns' axis to the rows'."""
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.asarray(np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], -2), float)


def _fit(here: Array, there: Array) -> Array:
    """The affine transform of least squares, held near a similarity where places are few."""
    if len(here) < 3:
        return np.eye(2, 3)
    centre, target = here.mean(axis=0), there.mean(axis=0)
    x, y = here - centre, there - target
    # a similarity with or without mirror image is what the ridge draws to
    similar = min((_similar(x, y, flip) for flip in (1, -1)), key=lambda a: float(((x @ a.T - y) ** 2).sum()))
    ridge = (x**2).sum() / 10 * np.eye(2)
    linear = similar + np.linalg.solve(x.T @ x + ridge, x.T @ (y - x @ similar.T)).T
    return np.column_stack([linear, target - linear @ centre])


def _similar(x: Array, y: Array, flip: int) -> Array:
    """The best rotation and scale, after a mirror image where ``flip`` is -1 (https://doi.org/10.1109/34.88573)."""
    u, values, v = np.linalg.svd(y.T @ x)
    sign = np.array([1, flip * np.sign(np.linalg.det(u @ v)) or 1])
    return np.asarray((u * sign) @ v * ((values * sign).sum() / max((x**2).sum(), 1e-9)))


def apply(transform: Array, places: Array) -> Array:
    """(..., 2) rows and columns, transformed."""
    return np.asarray(places @ transform[:, :2].T + transform[:, 2])


def confirm(one: Features, other: Features, transform: Array) -> tuple[Array, float, float]:
    """Refine a transform and compare what both pictures show.

    Args:
        one: of the first picture.
        other: of the second.
        transform: in pixels.

    Returns:
        the refined transform, the share of tiles that agree, and the share of the first picture that both show.
    """
    first, second = (seen.detail * np.float32(DETAIL_UNIT) for seen in (one, other))
    for blur in (3.0, 2.0, 1.5, 1.0):
        transform = _step(gaussian_filter(first, blur), gaussian_filter(second, blur), one.shown, transform)
    places = apply(transform, np.moveaxis(np.indices(first.shape), 0, -1))
    both = one.shown & (_look(other.shown.astype(np.float32), places) > 0.5)
    agree, usable = _tiles(_fine(first), _look(_fine(second), places), both)
    return transform, agree, float(both.mean()) if usable >= _FEWEST_TILES else 0.0


def _look(picture: Array, places: Array) -> Array:
    return np.asarray(map_coordinates(picture, np.moveaxis(places, -1, 0), order=1, cval=0.0))


def _step(first: Array, second: Array, shown: Array, transform: Array) -> Array:
    """A Gauss-Newton step (Lucas-Kanade, https://doi.org/10.1023/B:VISI.0000011205.11775.fd)."""
    grid = np.moveaxis(np.indices(first.shape), 0, -1)[::2, ::2].astype(float)
    places = apply(transform, grid)
    limit = np.array(second.shape) - 1
    inside = shown[::2, ::2] & (places > 0).all(axis=-1) & (places < limit).all(axis=-1)
    if inside.sum() < 100:
        return transform
    slopes = [_look(slope, places[inside]) for slope in np.gradient(second)]
    centre = grid[inside].mean(axis=0)
    rows, columns = ((grid[inside] - centre) / 50).T
    target = first[::2, ::2][inside]
    moves = np.stack([*(slope * factor for slope in slopes for factor in (rows, columns, 1)), -target], axis=1)
    error = -_look(second, places[inside])
    weight = 1 / (1 + (error + target) ** 2)  # what covers a part of one picture counts little
    normal = (moves * weight[:, None]).T @ moves
    normal += 1e-3 * np.trace(normal) / len(normal) * np.eye(len(normal))
    step = np.linalg.solve(normal, (moves * weight[:, None]).T @ error)[:6].reshape(2, 3)
    linear = step[:, :2] / 50
    size = np.abs(step).max()
    if size > 4:
        linear, step = linear * 4 / size, step * 4 / size
    return np.asarray(transform + np.column_stack([linear, step[:, 2] - linear @ centre]))


def _fine(detail: Array) -> Array:
    return np.asarray(gaussian_filter(detail, 0.7) - gaussian_filter(detail, 3.5))


def _tiles(first: Array, second: Array, both: Array) -> tuple[float, int]:
    height, width = (side // _TILE * _TILE for side in first.shape)

    def sums(values: Array) -> Array:
        return np.asarray(values[:height, :width].reshape(height // _TILE, _TILE, -1, _TILE).sum(axis=(1, 3)))

    seen = sums(both.astype(float))
    a, b = first * both, second * both
    product, power, other = sums(a * b), sums(a * a), sums(b * b)
    usable = (seen > _TILE**2 / 2) & (power > 0.01 * seen)
    correlation = product[usable] / np.sqrt(power[usable] * other[usable] + 1e-9)
    return float((correlation > _AGREE).mean()) if usable.any() else 0.0, int(usable.sum())
