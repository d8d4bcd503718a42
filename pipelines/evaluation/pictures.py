"""Pictures of images with masks on them: outlines side by side, or what a prediction missed and made up."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..imaging.overlay import CYAN, YELLOW, draw_outline
from ..imaging.structures import UNANNOTATED, Colour, Structure, colours_of

Bytes = NDArray[np.uint8]

MISSED, FALSE = (230, 40, 40), (50, 100, 255)
"""The colours of area that only the reference, and that only the prediction has."""

THUMBNAIL, LONGEST, _ENLARGED = 320, 640, 320  # pixels, the longer side
_TINT = 0.55


@dataclass(frozen=True)
class Picture:
    """An image and what was drawn on it.

    Attributes:
        name: shown above the picture, e.g. the file's name.
        image: (H, W, 3) or (H, W, 1), 0..255.
        prediction: (H, W), 0/1, or (S, H, W) of several structures.
        reference: the same, where there is one; 255 where a structure is not annotated.
        dice: of prediction and reference, 0..1.
        structures: those of the masks, where there are several.
    """

    name: str
    image: Bytes
    prediction: Bytes
    reference: Bytes | None = None
    dice: float | None = None
    structures: Sequence[Structure] = ()


def draw_errors(
    image: Bytes, prediction: Bytes, reference: Bytes, structures: Sequence[Structure] = (), longest: int = LONGEST
) -> Bytes:
    """What a prediction missed (red area) and made up (blue area), on a copy of the image.

    The line of the reference is solid, that of the prediction dashed: of one structure cyan and yellow, of several both
    in the structure's colour. What nobody annotated is left out.

    Args:
        image: (H, W, 3) or (H, W, 1), 0..255.
        prediction: (H, W) or (S, H, W), 0/1.
        reference: the same; 255 where a structure is not annotated.
        structures: those of the masks, where there are several.
        longest: of the picture's sides, at most, pixels; small images are enlarged.

    Returns:
        (h, w, 3), 0..255.
    """
    drawn = resized(image, longest, _ENLARGED).astype(np.float32)
    pairs = [
        (_resized_mask(there == 1, longest, _ENLARGED), _resized_mask(drew == 1, longest, _ENLARGED), colours)
        for there, drew, colours in zip(_planes(reference), _planes(prediction), _line_colours(structures), strict=True)
        if not (there == UNANNOTATED).all()
    ]
    for there, drew, _ in pairs:
        for area, colour in ((there > drew, MISSED), (drew > there, FALSE)):
            drawn[area] = (1 - _TINT) * drawn[area] + _TINT * np.array(colour)
    lined = drawn.round().astype(np.uint8)
    width = max(2, round(max(lined.shape) / 200))
    dashes = _dashes(lined.shape[0], lined.shape[1], 4 * width)
    for there, drew, (solid, dashed) in pairs:
        lined = draw_outline(lined, there, solid, width)
        lined[dashes] = draw_outline(lined, drew, dashed, width)[dashes]
    return lined


def outlined_views(picture: Picture) -> dict[str, Bytes]:
    """The image, then its outlines in the reference and in the prediction, as thumbnails (h, w, 3)."""
    image = resized(picture.image, THUMBNAIL)
    views = {"image": image}
    for kind, masks, colour in (("reference", picture.reference, CYAN), ("prediction", picture.prediction, YELLOW)):
        if masks is not None:
            colours = colours_of(picture.structures) if len(picture.structures) > 1 else [colour]
            outlined = image
            for plane, each in zip(_planes(masks), colours, strict=True):
                outlined = draw_outline(outlined, _resized_mask(plane == 1, THUMBNAIL), each, 2)
            views[kind] = outlined
    return views


def as_jpeg(image: Bytes, quality: int = 85) -> str:
    """A picture (H, W, 3) as a ``data:`` address, which a page holds in itself."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def as_data(png: Path) -> str:
    """A PNG file as a ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()


def resized(image: Bytes, longest: int, shortest: int = 0) -> Bytes:
    """An image, (H, W), (H, W, 1) or (H, W, 3), as (h, w, 3) whose longer side is within these pixels.

    Only whole factors enlarge it, so that its pixels stay squares.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).convert("RGB")
    factor = max(shortest // max(picture.size), 1)
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((longest, longest), Image.Resampling.BOX)
    return np.asarray(picture)


def _resized_mask(mask: NDArray[np.bool_], longest: int, shortest: int = 0) -> Bytes:
    return (resized(mask * np.uint8(255), longest, shortest)[..., 0] > 127).astype(np.uint8)


def _planes(masks: Bytes) -> Bytes:
    return masks.reshape(-1, *masks.shape[-2:])


def _line_colours(structures: Sequence[Structure]) -> list[tuple[Colour, Colour]]:
    """Of each structure, those of the reference's and of the prediction's line."""
    if len(structures) < 2:
        return [(CYAN, YELLOW)]
    return [(colour, colour) for colour in colours_of(structures)]


def _dashes(height: int, width: int, length: int) -> NDArray[np.bool_]:
    """Where a dashed line is drawn: squares like those of a chessboard."""
    rows, columns = (np.arange(side) // length for side in (height, width))
    squares: NDArray[np.bool_] = (rows[:, None] + columns) % 2 == 0
    return squares
