"""Images that show the same picture twice: equal, mirrored, turned, cut, covered in part, re-encoded, brighter.

Two searches. One compares the low frequencies of all pairs by matrix products; what passes is registered and compared
in detail. The other (`likeness`) goes by local features. Both work on a small grey signature of each image, so that no
image is decoded for a comparison, and neither depends on the order of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter, maximum_filter, minimum_filter

from .likeness import Alike, find_alike

Array = NDArray[Any]

LARGEST_DIFFERENCE = 0.35
"""Up to which two registered images are taken for the same picture; ``benchmarks/audit.py`` measures what it finds."""

_SIDE, _LONGER = 96, 192  # of a thumbnail, and the longer one of a picture, in pixels
_FREQUENCIES, _WHITENING = 12, 1.5  # of the sieve, along each side; images fall off as 1 / frequency ** 1.5 or faster
_ALIKE = 0.75  # least cosine of low frequencies that passes the sieve
_CUTS = (
    (0.0, 1.0),
    (4 / 96, 92 / 96),
    (0.0, 92 / 96),
    (4 / 96, 88 / 96),
)  # start and length of what may be left of a side
_LEVELS = ((48, (1.5, 1.5, 1.0), 0.8), (96, (2.0, 1.0), LARGEST_DIFFERENCE))  # side, blurs, largest difference
_NOISE = 0.1  # variance of detail, in squared greys, below which there is nothing to see
_DARK, _WHITE, _EDGE = 12, 252, 1 / 16  # greys beyond which nothing is shown; how far its edge reaches, in sides
_FAINT = 0.02  # least variance of normalised detail in a tile that counts
_TILES, _FEWEST_TILES = 6, 6
_ROWS, _PAIRS = 512, 128  # of a block, to keep memory flat


class Orientation(NamedTuple):
    """How to turn a picture: transpose, then mirror top to bottom, then mirror left to right."""

    transposed: bool
    rows: bool
    columns: bool

    def __str__(self) -> str:
        return _TURNS[self]


_TURNS = {
    Orientation(False, False, False): "",
    Orientation(False, False, True): "mirrored left to right",
    Orientation(False, True, False): "mirrored top to bottom",
    Orientation(False, True, True): "turned by 180 degrees",
    Orientation(True, False, False): "mirrored along a diagonal",
    Orientation(True, False, True): "turned by 90 degrees",
    Orientation(True, True, False): "turned by 90 degrees",
    Orientation(True, True, True): "mirrored along a diagonal",
}
UPRIGHT, *_ = _ORIENTATIONS = tuple(_TURNS)
Window = tuple[float, float, float, float]  # start and length of rows, then of columns, as shares
WHOLE: Window = (0.0, 1.0, 0.0, 1.0)
Transform = tuple[tuple[float, float, float], tuple[float, float, float]]
SAME: Transform = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


@dataclass(frozen=True)
class Signature:
    """What is kept of an image.

    Attributes:
        sha256: in hex, of the decoded pixels and their shape; R = G = B counts as grey.
        thumbnail: (96, 96) uint8, grey, 0-255, the whole image squeezed into a square.
        picture: (H, W) uint8, grey, 0-255, the whole image, its longer side at most 192 pixels.
        aspect: width / height of the image.
    """

    sha256: str
    thumbnail: NDArray[np.uint8] = field(repr=False)
    picture: NDArray[np.uint8] = field(repr=False)
    aspect: float


@dataclass(frozen=True)
class Duplicate:
    """Two images that show the same picture.

    Attributes:
        first: index of one image; of a crop and its whole, the crop.
        second: index of the other.
        exact: whether all pixels are equal.
        difference: of the details after registration: 0 for equal, 1 for unrelated ones.
        how: what was done to the picture, e.g. ``"mirrored left to right, crop"``.
        transform: where a place (row, column) of the first lies in the second, in shares of their sides: for row and
            column the factors of both and a shift.
    """

    first: int
    second: int
    exact: bool
    difference: float
    how: str
    transform: Transform = SAME


Propose = Callable[[Sequence[Signature]], set[tuple[int, int]]]
"""Sorted pairs of indices that are worth a closer look."""


@dataclass(frozen=True)
class _Candidate:
    """A pair as the sieve lets it through."""

    first: int
    second: int
    orientation: Orientation
    window: Window


def signature(pixels: NDArray[np.uint8]) -> Signature:
    """What `find_duplicates` needs to know of an image.

    Args:
        pixels: (H, W, C), 0-255.
    """
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    height, width = pixels.shape[:2]
    shrink = min(1, _LONGER / max(height, width))
    return Signature(
        sha256=sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(),
        thumbnail=_resized(pixels, _SIDE, _SIDE),
        picture=_resized(pixels, max(round(height * shrink), 1), max(round(width * shrink), 1)),
        aspect=width / height,
    )


def _resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The mean of the channels, (height, width)."""
    layers = [
        Image.fromarray(np.ascontiguousarray(layer)).resize((width, height), Image.Resampling.BOX)
        for layer in np.moveaxis(pixels, -1, 0)
    ]
    return np.asarray(np.rint(np.mean([np.asarray(layer) for layer in layers], axis=0)), np.uint8)


def find_duplicates(signatures: Sequence[Signature], propose: Propose | None = None) -> list[Duplicate]:
    """All pairs of images that show the same picture.

    A pair passes the sieve when the whole of one image and the whole or a crop of the other, in any of eight
    orientations, have similar low frequencies, each weighted against the fall of natural spectra. It is then registered
    by Gauss-Newton steps in scale and shift along each axis, with gain and offset of brightness (an affine
    Lucas-Kanade method, https://doi.org/10.1023/B:VISI.0000011205.11775.fd), and compared in 36 tiles by the normalised
    correlation of fine detail at equal local contrast. The difference is 1 less the lower quartile of them: a fan, a
    border or a scale that two images share is no duplicate.

    Pairs that are not found so, such as pictures turned by a few degrees, are sought by local features: `find_alike`.

    Args:
        signatures: of the images.
        propose: gives further candidates to the second search, which also tries them as their low frequencies lie.

    Returns:
        sorted by the indices; each pair once. The same pairs of images whatever their order.
    """
    copies: dict[str, list[int]] = {}
    for index, one in enumerate(signatures):
        copies.setdefault(one.sha256, []).append(index)
    several = [copies[name] for name in sorted(copies)]  # one of each, in an order of their own
    near = _near([signatures[indices[0]] for indices in several], propose)
    found = [
        replace(pair, first=first, second=second)
        for pair in near
        for first, second in product(several[pair.first], several[pair.second])
    ]
    return sorted([*find_equal(signatures), *found], key=lambda pair: sorted((pair.first, pair.second)))


def carry(picture: Array, transform: Transform) -> Array:
    """What a picture shows where the first of a pair shows its own places; 0 beyond its edges.

    Args:
        picture: (H, W), of the second.
        transform: as in `Duplicate`.
    """
    factors, shift = np.array(transform)[:, :2], np.array(transform)[:, 2]
    sides = np.array(picture.shape)
    linear = factors * sides[:, None] / sides
    offset = linear @ (0.5, 0.5) + shift * sides - 0.5
    return np.asarray(affine_transform(picture.astype(np.float32), linear, offset, order=1))


def turn(picture: Array, orientation: Orientation) -> Array:
    """A (H, W, ...) array, turned; a view of the given one."""
    picture = np.swapaxes(picture, 0, 1) if orientation.transposed else picture
    return picture[:: -1 if orientation.rows else 1, :: -1 if orientation.columns else 1]


def find_equal(signatures: Sequence[Signature]) -> list[Duplicate]:
    """All pairs of images whose pixels are equal."""
    same: dict[str, list[int]] = {}
    for index, one in enumerate(signatures):
        same.setdefault(one.sha256, []).append(index)
    pairs = [pair for indices in same.values() for pair in combinations(indices, 2)]
    return [Duplicate(*pair, exact=True, difference=0.0, how="equal pixels") for pair in pairs]


def _near(signatures: Sequence[Signature], propose: Propose | None) -> list[Duplicate]:
    """Pairs of different images by both searches, each pair once."""
    if len(signatures) < 2:
        return []
    candidates = _sieve(np.stack([one.thumbnail for one in signatures]))
    near: dict[tuple[int, int], Duplicate] = {}
    for start in range(0, len(candidates), _PAIRS):
        for pair in _confirm(candidates[start : start + _PAIRS], signatures):
            both = (min(pair.first, pair.second), max(pair.first, pair.second))
            near[both] = min(pair, near.get(both, pair), key=lambda one: (one.difference, one.first))
    proposed = propose(signatures) if propose else set()
    alike = find_alike([one.picture for one in signatures], set(near), _laid(proposed, signatures))
    return [*near.values(), *(_aligned(one, signatures) for one in alike)]


def _laid(pairs: set[tuple[int, int]], signatures: Sequence[Signature]) -> dict[tuple[int, int], Array]:
    """How the first of each pair lies in the second, in pixels, if that is but the view most like it when blurred."""
    if not pairs:
        return {}
    whole = _frequencies(np.stack([one.thumbnail for one in signatures]), WHOLE)
    views = np.stack([_turned(whole, orientation) for orientation in _ORIENTATIONS], axis=1)
    found = {}
    for first, second in pairs:
        orientation = _ORIENTATIONS[int(np.tensordot(views[second], whole[first]).argmax())]
        shares = np.array(_through(np.reshape(WHOLE, (2, 2)), orientation))
        here, there = (np.array(signatures[index].picture.shape) for index in (first, second))
        linear = shares[:, :2] * there[:, None] / here
        found[first, second] = np.column_stack([linear, shares[:, 2] * there - 0.5 + linear @ (0.5, 0.5)])
    return found


def _aligned(pair: Alike, signatures: Sequence[Signature]) -> Duplicate:
    """A pair of the second search, its transform in shares."""
    here, there = (np.array(signatures[index].picture.shape) for index in (pair.first, pair.second))
    linear, shift = pair.transform[:, :2], pair.transform[:, 2]
    shares = np.column_stack([linear * here / there[:, None], (shift + 0.5 - linear @ (0.5, 0.5)) / there])
    angle = round(float(np.degrees(np.arctan2(linear[0, 1] - linear[1, 0], linear[0, 0] + linear[1, 1]))))
    mirrored = np.linalg.det(linear) < 0
    if mirrored:
        angle = round(float(np.degrees(np.arctan2(linear[0, 1] + linear[1, 0], linear[0, 0] - linear[1, 1]))))
    changes = ["mirrored"] if mirrored else []
    changes += [f"turned by {abs(angle)} degrees"] if angle else []
    how = " and ".join(changes) or "shifted, cut or covered in part"
    return Duplicate(pair.first, pair.second, False, round(1 - pair.agree, 4), how, _as_transform(shares))


def _as_transform(values: Array) -> Transform:
    rows, columns = values.round(5).tolist()
    return (tuple(rows), tuple(columns))  # type: ignore[return-value]


def _sieve(thumbnails: NDArray[np.uint8]) -> list[_Candidate]:
    """Pairs with similar low frequencies, each in the view in which they are most similar."""
    whole = _frequencies(thumbnails, WHOLE)
    views = list(product(_ORIENTATIONS, [(*rows, *columns) for rows, columns in product(_CUTS, _CUTS)]))
    found = []
    for view, (orientation, window) in enumerate(views):
        seen = _turned(_frequencies(thumbnails, window), orientation).reshape(len(thumbnails), -1)
        for start in range(0, len(seen), _ROWS):
            cosines = whole[start : start + _ROWS].reshape(-1, seen.shape[1]) @ seen.T
            rows, columns = np.nonzero(cosines >= _ALIKE)
            found.append(np.stack([rows + start, columns, np.full(rows.shape, view), cosines[rows, columns]]))
    pairs = np.concatenate(found, axis=1)
    pairs = pairs[:, pairs[0] != pairs[1]]
    pairs = pairs[:, np.lexsort((pairs[0], -pairs[3].round(4)))]
    _, best = np.unique(pairs[:2], axis=1, return_index=True)  # the first in the second, and the second in the first
    numbers = pairs[:3, best].astype(int).T.tolist()
    return [_Candidate(first, second, *views[view]) for first, second, view in numbers]


def _frequencies(thumbnails: NDArray[np.uint8], window: Window) -> Array:
    """Weighted cosine coefficients (DCT-II) of what a window shows, of length 1: (N, 12, 12)."""
    number = np.arange(_FREQUENCIES)
    rows, columns = (_cosines(*window[:2]), _cosines(*window[2:]).T)
    blocks = [thumbnails[start : start + _ROWS].astype(np.float32) for start in range(0, len(thumbnails), _ROWS)]
    weights = np.hypot(number[:, None], number) ** _WHITENING
    coefficients = np.concatenate([rows @ block @ columns for block in blocks]) * weights
    length = np.linalg.norm(coefficients, axis=(1, 2), keepdims=True)
    return np.asarray(coefficients / np.maximum(length, 1e-6), np.float32)


def _cosines(start: float, length: float) -> Array:
    """(12, 96): the DCT-II of a part of a side."""
    place = ((np.arange(_SIDE) + 0.5) / _SIDE - start) / length
    waves = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), place)) * ((place > 0) & (place < 1))
    return np.asarray(waves, np.float32)


def _turned(coefficients: Array, orientation: Orientation) -> Array:
    """Coefficients of the turned pictures: a mirror image changes the sign of odd frequencies."""
    signs = (-1.0) ** np.arange(_FREQUENCIES, dtype=np.float32)
    coefficients = np.swapaxes(coefficients, 1, 2) if orientation.transposed else coefficients
    return coefficients * (signs[:, None] if orientation.rows else 1) * (signs if orientation.columns else 1)


def _confirm(candidates: Sequence[_Candidate], signatures: Sequence[Signature]) -> Iterator[Duplicate]:
    """Register pairs, first coarsely, and yield those that agree in detail."""
    windows = np.array([one.window for one in candidates]).reshape(-1, 2, 2)
    for side, blurs, largest in _LEVELS:
        fixed = _stack([signatures[one.first].thumbnail for one in candidates], side)
        moving = _stack([turn(signatures[one.second].thumbnail, one.orientation) for one in candidates], side)
        windows = _register(fixed, moving, windows, blurs)
        differences = _differences(fixed, moving, windows)
        kept = differences <= largest
        candidates = [one for one, keep in zip(candidates, kept, strict=True) if keep]
        fixed, moving, windows, differences = fixed[kept], moving[kept], windows[kept], differences[kept]
        if not candidates:
            return
    gains = fixed.mean(axis=(1, 2)) / np.maximum(_warp(moving, windows).mean(axis=(1, 2)), 1)
    for one, window, difference, gain in zip(candidates, windows, differences, gains, strict=True):
        stretch = _aspect(signatures[one.second], one.orientation) * window[1, 1] / window[0, 1]
        how = _how(one.orientation, window[:, 1], gain, signatures[one.first].aspect / stretch)
        transform = _through(window, one.orientation)
        yield Duplicate(one.first, one.second, False, round(float(difference), 4), how, transform)


def _through(window: Array, orientation: Orientation) -> Transform:
    """The transform of a window (2, 2) of a turned picture."""
    shares = np.column_stack([np.diag(window[:, 1]), window[:, 0]])
    for axis, mirrored in enumerate((orientation.rows, orientation.columns)):
        if mirrored:
            shares[axis] = [0, 0, 1] - shares[axis]
    return _as_transform(shares[::-1] if orientation.transposed else shares)


def _stack(thumbnails: Sequence[NDArray[np.uint8]], side: int) -> Array:
    """(P, side, side) float32, means of the thumbnails' pixels."""
    step = _SIDE // side
    return np.asarray(np.stack(thumbnails).reshape(-1, side, step, side, step).mean(axis=(2, 4)), np.float32)


def _aspect(signature: Signature, orientation: Orientation) -> float:
    return 1 / signature.aspect if orientation.transposed else signature.aspect


def _how(orientation: Orientation, lengths: Array, gain: float, stretch: float) -> str:
    texts = {
        str(orientation): orientation != UPRIGHT,
        "crop": bool((abs(lengths - 1) > 0.015).any()),
        f"{gain - 1:+.0%} brightness": abs(gain - 1) > 0.03,
        "stretched": abs(stretch - 1) > 0.03,
    }
    return ", ".join(text for text, holds in texts.items() if holds) or "the same view"


def _register(fixed: Array, moving: Array, windows: Array, blurs: Sequence[float]) -> Array:
    """Windows (P, 2, 2) that show most of ``fixed`` in ``moving``: a Gauss-Newton step for each blur."""
    side = fixed.shape[1]
    offset = np.asarray((np.arange(side) - (side - 1) / 2) / side, np.float32)
    for blur in blurs:
        target, source = _smooth(fixed, blur), _warp(_smooth(moving, blur), windows)
        rows, columns = np.gradient(source, axis=(1, 2))
        moves = (rows, rows * offset[:, None], columns, columns * offset, -target, -np.ones_like(target))
        inside = _inside(windows, side)
        jacobian = (np.stack(moves, axis=1) * inside[:, None]).reshape(len(fixed), len(moves), -1)
        normal = (jacobian @ np.swapaxes(jacobian, 1, 2)).astype(np.float64)
        ridge = 1e-3 * np.trace(normal[:, :4, :4], axis1=1, axis2=2)[:, None, None] + 1e-6
        normal += ridge * np.eye(len(moves))
        right = -jacobian @ (source * inside).reshape(len(fixed), -1, 1)
        step = np.linalg.solve(normal, right)[:, :4, 0].reshape(-1, 2, 2).clip(-0.05 * side, 0.05 * side) / side
        shift, growth = step[..., 0], step[..., 1]
        start, length = windows[..., 0], windows[..., 1]
        windows = np.stack([start + length * (shift - growth / 2), length * (1 + growth)], axis=-1)
    return windows


def _differences(fixed: Array, moving: Array, windows: Array) -> Array:
    """1 less the lower quartile of the tiles' correlations, (P,); 1 where there is too little to see."""
    side = fixed.shape[1]
    first, second = _detail(fixed), _warp(_detail(moving), windows)
    shown = _visible(fixed) * (_warp(_visible(moving), windows) > 0.5)  # a frame that two pictures have is no likeness
    inside = _inside(windows, side, margin=0.03) * shown
    seen = _tiles(inside)
    first_power, second_power, product_ = (
        _tiles(values * inside) / np.maximum(seen, 1e-6) for values in (first**2, second**2, first * second)
    )
    correlation = product_ / np.sqrt((first_power + _FAINT) * (second_power + _FAINT))
    usable = (np.maximum(first_power, second_power) > _FAINT) & (seen > 0.3)
    correlation[~usable] = np.nan
    correlation[usable.sum(axis=1) < _FEWEST_TILES] = 0
    return np.asarray(1 - np.nanpercentile(correlation, 25, axis=1))


def _tiles(values: Array) -> Array:
    """Means of 6 x 6 tiles: (P, S, S) to (P, 36)."""
    size = values.shape[1] // _TILES
    return np.asarray(values.reshape(-1, _TILES, size, _TILES, size).mean(axis=(2, 4)).reshape(-1, _TILES**2))


def _detail(pictures: Array) -> Array:
    """What is finer than about 4 pixels, at equal contrast: a strong edge counts no more than a faint one."""
    fine = _smooth(pictures, 1) - _smooth(pictures, 4)
    return np.asarray(fine / np.sqrt(_smooth(fine**2, 4) + _NOISE))


def _visible(pictures: Array) -> Array:
    """1 where pictures (P, S, S) show something, 0 in black and white areas and on their edges."""
    blank = (maximum_filter(pictures, 5, axes=(1, 2)) <= _DARK) | (minimum_filter(pictures, 5, axes=(1, 2)) >= _WHITE)
    reach = 5 + 2 * round(_EDGE * pictures.shape[1])
    return np.asarray(~maximum_filter(blank, reach, axes=(1, 2)), np.float32)


def _smooth(pictures: Array, sigma: float) -> Array:
    return np.asarray(gaussian_filter(pictures, sigma, axes=(1, 2)))


def _warp(pictures: Array, windows: Array) -> Array:
    """What windows (P, 2, 2) show of pictures (P, S, S), interpolated linearly along each axis."""
    grid = np.arange(pictures.shape[1])
    places = _places(windows, len(grid)) * len(grid) - 0.5
    hats = np.maximum(0, 1 - np.abs(places[..., None] - grid)).astype(np.float32)
    return np.asarray(hats[:, 0] @ pictures @ np.swapaxes(hats[:, 1], 1, 2))


def _inside(windows: Array, side: int, margin: float = 0.0) -> Array:
    """(P, side, side) float32: 1 where the window lies inside the picture and ``margin`` inside itself."""
    places, own = _places(windows, side), _places(np.array([[[0.0, 1.0]]]), side)
    inside = (abs(places - 0.5) < 0.5 - 0.5 / side) & (abs(own - 0.5) < 0.5 - margin)
    return np.asarray(inside[:, 0, :, None] & inside[:, 1, None], np.float32)


def _places(windows: Array, side: int) -> Array:
    """Where a window's pixels lie, as shares of the picture's sides: (P, 2, side)."""
    return np.asarray(windows[..., :1] + windows[..., 1:] * (np.arange(side) + 0.5) / side)
