"""Local features of a picture: places that are found again after it was turned, cut, covered in part or recoloured.

Blobs of several sizes (https://doi.org/10.1023/B:VISI.0000029664.99615.94), each described by a patch that is turned
as the picture is there and sampled as coarsely as the blob is large (https://doi.org/10.1109/CVPR.2005.235). Greys are
taken at equal local contrast first, so that light, colour and vignette do not count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    distance_transform_edt,
    gaussian_filter,
    map_coordinates,
    maximum_filter,
    median_filter,
    minimum_filter,
    uniform_filter,
)

Array = NDArray[Any]

COUNT = 120
"""Most features of a picture."""

DETAIL_UNIT = 1 / 24
"""Of stored detail, in standard deviations."""

_OCTAVES, _PER_LEVEL = 4, 60
_SIGMAS = 1.5 * 2 ** (np.arange(5) / 2)  # of the levels of an octave, in its pixels; peaks are sought at 1 and 2
_CONTRAST, _NOISE, _HAIR = 10, 2.0, 5  # pixels over which contrast is equal; variance of noise; width that is wiped out
_DARK, _WHITE = 12, 252  # greys beyond which a patch shows nothing
_PATCH, _KEPT, _SPACING = 8, 6, 1.7  # samples and frequencies a side; distance of samples in sigmas
_EDGE = 2.0  # least distance to where nothing is shown, in sigmas

_WAVES = np.cos(np.pi * np.outer(np.arange(_KEPT), np.arange(_PATCH) + 0.5) / _PATCH)
_WEIGHTS = np.hypot(*np.mgrid[:_KEPT, :_KEPT]) ** 0.75 * np.where(np.arange(_KEPT) > 0, 2**0.5, 1)
_WEIGHTS *= np.where(np.arange(_KEPT) > 0, 2**0.5, 1)[:, None]
MIRROR: NDArray[np.float32] = np.repeat((-1.0) ** np.arange(_KEPT), _KEPT)[1:].astype(np.float32)
"""What makes the descriptor of a patch that of its mirror image, by multiplication: (35,)."""


class Features(NamedTuple):
    """Features of a picture.

    Attributes:
        places: (K, 2) rows and columns, in pixels.
        sizes: (K,) sigmas, in pixels.
        angles: (K,) direction in which the picture gets brighter, in radians from the columns' axis to the rows'.
        descriptors: (K, 35) of length 1.
        detail: (H, W) int8: the picture at equal local contrast, in `DETAIL_UNIT`s.
        shown: (H, W) bool: where it shows anything.
    """

    places: NDArray[np.float32]
    sizes: NDArray[np.float32]
    angles: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    detail: NDArray[np.int8]
    shown: NDArray[np.bool_]


def _equal_contrast(picture: NDArray[np.uint8]) -> tuple[Array, NDArray[np.bool_]]:
    """A picture at equal local contrast, (H, W) float32, and where it shows anything.

    Args:
        picture: (H, W), grey, 0-255.
    """
    picture = median_filter(picture, _HAIR)
    blank = (maximum_filter(picture, 5) <= _DARK) | (minimum_filter(picture, 5) >= _WHITE)
    shown = ~maximum_filter(blank, 5)
    weight = shown.astype(np.float32)
    seen = np.maximum(_broad(weight), 1e-3)
    detail = (picture - _broad(picture * weight) / seen) * weight
    return np.asarray(detail / np.sqrt(_broad(detail**2) / seen + _NOISE), np.float32), shown


def features(picture: NDArray[np.uint8]) -> Features:
    """Up to `COUNT` features, those of most contrast.

    Args:
        picture: (H, W), grey, 0-255; the longer side 192 or so.
    """
    detail, shown = _equal_contrast(picture)
    kept = np.rint(detail / DETAIL_UNIT).clip(-127, 127).astype(np.int8)
    away = distance_transform_edt(np.pad(shown, 1))[1:-1, 1:-1]
    found = []
    base, sigma = gaussian_filter(detail, 1.2, mode="nearest"), 1.2
    for octave in range(_OCTAVES):
        if min(base.shape) < 2 * _PATCH:
            break
        levels = _levels(base, sigma)
        found += [_on_level(levels, level, 2**octave, away) for level in (1, 2)]
        height, width = (side // 2 for side in base.shape)
        base = levels[2][: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
        sigma = _SIGMAS[0]
    joined = [np.concatenate(parts).astype(np.float32) for parts in zip(*found, strict=True)] if found else []
    if not joined:
        joined = [np.zeros(shape, np.float32) for shape in ((0, 2), 0, 0, (0, len(MIRROR)), 0)]
    best = np.argsort(-joined[4], kind="stable")[:COUNT]
    places, sizes, angles, descriptors = (values[best] for values in joined[:4])
    return Features(places, sizes, angles, descriptors, kept, shown)


def _levels(base: Array, sigma: float) -> list[Array]:
    """An octave: blurred by each of the sigmas."""
    levels = []
    for wanted in _SIGMAS:
        more = np.sqrt(max(wanted**2 - sigma**2, 0))
        base = gaussian_filter(base, more, mode="nearest", truncate=3.0) if more > 0 else base
        levels.append(base)
        sigma = wanted
    return [*levels, gaussian_filter(base, _SIGMAS[-1], mode="nearest", truncate=3.0)]


def _on_level(levels: list[Array], level: int, pixel: int, away: Array) -> tuple[Array, ...]:
    """Blobs on a level: places, sizes, angles, descriptors, contrasts.

    Args:
        levels: as `_levels` gives them.
        level: 1 or 2.
        pixel: a pixel's side, in those of the picture.
        away: of each of the picture's pixels, how far it is from where nothing is shown.
    """
    blobs = np.stack([levels[index + 1] - levels[index] for index in (level - 1, level, level + 1)])
    strength = abs(blobs)
    peaks = (strength == maximum_filter(strength, 3))[1]
    inside = np.zeros_like(peaks)
    inside[3:-3, 3:-3] = True
    inside &= away[pixel // 2 :: pixel, pixel // 2 :: pixel][: peaks.shape[0], : peaks.shape[1]] > (
        _EDGE * _SIGMAS[level] * pixel
    )
    rows, columns = np.nonzero(peaks & inside)
    order = np.argsort(-strength[1, rows, columns], kind="stable")[:_PER_LEVEL]
    rows, columns = rows[order], columns[order]
    places = np.stack([_between(blobs[1], rows, columns, 0), _between(blobs[1], rows, columns, 1)])
    slopes = [map_coordinates(slope, places, order=1) for slope in np.gradient(levels[4])]
    angles = np.arctan2(*slopes)
    descriptors = _describe(levels[level], places, angles, _SPACING * _SIGMAS[level])
    sizes = np.full(len(rows), _SIGMAS[level] * pixel)
    return (places.T + 0.5) * pixel - 0.5, sizes, angles, descriptors, strength[1, rows, columns]


def _between(values: Array, rows: Array, columns: Array, axis: int) -> Array:
    """Rows or columns of peaks, between the pixels, by a parabola."""
    step = (1 - axis, axis)
    before, after = values[rows - step[0], columns - step[1]], values[rows + step[0], columns + step[1]]
    bend = 2 * (2 * values[rows, columns] - before - after)
    moved = np.where(abs(bend) > 1e-6, (after - before) / np.where(bend == 0, 1, bend), 0).clip(-0.5, 0.5)
    return np.asarray((columns if axis else rows) + moved)


def _describe(level: Array, places: Array, angles: Array, spacing: float) -> Array:
    """Weighted cosine coefficients of patches that are turned by the angles, of length 1; the mean is left out."""
    offsets = spacing * (np.arange(_PATCH) - (_PATCH - 1) / 2)
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    across, along = offsets[:, None], offsets[None]
    rows = places[0][:, None, None] + sine * along + cosine * across
    columns = places[1][:, None, None] + cosine * along - sine * across
    patches = map_coordinates(level, [rows, columns], order=1, mode="nearest")
    values = (_WAVES @ patches @ _WAVES.T * _WEIGHTS).reshape(len(patches), _KEPT**2)[:, 1:]
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6))


def _broad(values: Array) -> Array:
    """Blurred by about `_CONTRAST` pixels; two boxes are close to a Gaussian."""
    width = 2 * round(_CONTRAST * 1.7) + 1
    return np.asarray(uniform_filter(uniform_filter(values, width, mode="nearest"), width, mode="nearest"))
