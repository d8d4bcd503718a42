"""The views of an image that test-time augmentation averages over: those that training showed the network, too."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import WrongValueError

TTA = ("flips", "rotations")
_ROWS, _COLUMNS = 2, 3  # axes of (B, C, H, W)


class View(NamedTuple):
    """One way to look at an image; the first of several is the image as it is.

    Attributes:
        mirrored: the axes that are turned round.
        turns: by 90 degrees, against the clock.
    """

    mirrored: tuple[int, ...] = ()
    turns: int = 0

    def of(self, image: Any) -> Any:
        """The view of an image (B, C, H, W), torch's or numpy's."""
        if self == View():
            return image
        library = _library_of(image)
        return library.rot90(library.flip(image, self.mirrored), self.turns, (_ROWS, _COLUMNS))

    def back(self, logits: Any) -> Any:
        """What the network gives for the view (B, C, H, W), on the image as it is."""
        if self == View():
            return logits
        library = _library_of(logits)
        return library.flip(library.rot90(logits, -self.turns, (_ROWS, _COLUMNS)), self.mirrored)


def _library_of(image: Any) -> Any:
    """Numpy or torch, whose arrays are turned by functions of the same names."""
    return np if isinstance(image, np.ndarray) else sys.modules["torch"]


def views_of(tta: str | None, flip_left_right: bool = True, upright: bool = False) -> list[View]:
    """The views to average over, in an order in which a mirrored or turned image gives the same mean to the bit.

    Args:
        tta: ``"flips"``: mirrored left-right, top-bottom and both, as far as training did so; ``"rotations"``: turned
            by 90, 180 and 270 degrees; ``None``: the image as it is alone.
        flip_left_right: whether training mirrored images left-right.
        upright: whether training left images upright: neither top-bottom nor turned.

    Raises:
        WrongValueError: ``tta`` is unknown, or training showed the network no such views.
    """
    if tta is None:
        return [View()]
    if tta not in TTA:
        raise WrongValueError(f"tta is {tta!r}; set {' or '.join(TTA)}, or null")
    if tta == "flips" and not flip_left_right:
        other = "leave tta out" if upright else "set tta to rotations, or leave it out"
        raise WrongValueError(
            f"tta is flips, but training showed this network no mirrored image (flip_left_right: false); {other}"
        )
    if tta == "rotations" and upright:
        other = "set tta to flips, or leave it out" if flip_left_right else "leave tta out"
        raise WrongValueError(f"tta is rotations, but training turned no image (upright: true); {other}")
    if tta == "rotations":
        return [View(turns=turns) for turns in (0, 2, 1, 3)]
    mirrored: list[tuple[int, ...]] = [(), (_COLUMNS,)]
    return [View(axes) for axes in (mirrored if upright else [*mirrored, (_ROWS,), (_ROWS, _COLUMNS)])]


def refuse_oblong(views: list[View], image: Any) -> None:
    """See that turned views have the image's own shape, which is that of training.

    Raises:
        WrongValueError: the image (B, C, H, W) is no square, and a view is turned by 90 degrees.
    """
    if any(view.turns % 2 for view in views) and image.shape[_ROWS] != image.shape[_COLUMNS]:
        rows, columns = image.shape[_ROWS : _COLUMNS + 1]
        raise WrongValueError(
            f"tta is rotations, but the network's images are {rows}x{columns}: turned, they have a shape that it was "
            "not trained with; set tta to flips, or leave it out"
        )
