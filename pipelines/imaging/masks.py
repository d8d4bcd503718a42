"""The one mask decoder: mask files in, 0 and 1 out, or a refusal by name.

Two values are read as they are. All else is read only where the item of the data list declares how: the values of a
label picture, the noise of a JPEG, another size.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.errors import InputError
from .filetypes import sniff
from .pictures import is_deep, opaque, open_picture, size_text

THRESHOLD = 128
"""The least value of a JPEG mask that is foreground."""

_SOFT = (32, 224)  # values from the one to below the other are neither black nor white
_THICK = 5  # pixels; JPEG at quality 5 leaves soft pixels up to 3 in a row and column, real sets 1
_SAME_SHAPE = 0.01  # widths over heights may differ by so much
_INEXACT = ("JPEG", "WEBP", "AVIF", "HEIF")
_FEW = 16  # values, as label pictures have; soft masks have more

Mask = NDArray[np.uint8]


def read_mask(
    paths: str | Path | Sequence[str | Path],
    outline: bool = False,
    *,
    jpeg: bool = False,
    values: Collection[int] | None = None,
    size: Sequence[int] | None = None,
) -> Mask:
    """Decode a mask; several files are united (OR).

    Understood are the values 0/1 and 0/255 (with 16 bits also 0/65535), as grey, palette (by its colours, not
    its indices) or R = G = B, with an opaque alpha channel or none; also as GIF of one frame. Nothing is thresholded or
    resized unless asked for.

    Args:
        paths: one file or several.
        outline: each file holds a contour, which is filled as `fill_outline` does.
        jpeg: JPEG files that are black and white but for compression are cut at 128.
        values: what is foreground: indices of palette files, values of grey ones.
        size: rows and columns that masks of this shape are resized to, by the nearest pixel.

    Returns:
        (H, W), values 0 and 1.

    Raises:
        InputError: as `read_image`, and for other grey values, colours, or files of different sizes; with ``size`` for
            files whose ratio of sides differs by more than 1 %.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    masks: list[Mask] = []
    for file in files:
        area = _foreground(file, jpeg) if values is None else np.isin(_label_values(file), list(values))
        mask = fill_outline(area) if outline else area.astype(np.uint8)
        masks.append(mask if size is None else _resized(file, mask, size))
        if mask.shape != masks[0].shape and size is None:
            reason = f"mask is {size_text(mask)}, mask {files[0].name} of the same image is {size_text(masks[0])}"
            raise InputError(
                file, reason, "make the masks of one image the same size, or have them resized: --resize-masks"
            )
    return np.asarray(np.any(masks, axis=0), np.uint8)


def values_in(path: Path) -> list[int]:
    """The values of a label picture: indices of a palette file, values of a grey one.

    Raises:
        InputError: as `read_mask`.
    """
    return [int(value) for value in np.unique(_label_values(path))]


def is_jpeg(path: str | Path) -> bool:
    """Whether a file is a JPEG, by its first bytes."""
    return sniff(Path(path)) == "JPEG"


def same_shape(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two sizes (rows, columns) have the same ratio of sides, to 1 %."""
    ratio = one[0] * other[1] / (one[1] * other[0])
    return max(ratio, 1 / ratio) <= 1 + _SAME_SHAPE


def fill_outline(line: NDArray[np.bool_] | Mask) -> Mask:
    """Fill one contour, the line included.

    A contour that encloses less than a third of its bounding box is taken for open: it has gaps, or leaves the image.
    Then its convex hull is filled, which suits heads and other convex shapes; where one leaves the image around a
    corner, the corner is cut off.

    Args:
        line: (H, W), 0 and 1; a filled area comes back as it is, no line as an empty mask.

    Returns:
        (H, W), values 0 and 1.
    """
    from scipy.ndimage import binary_fill_holes
    from skimage.morphology import convex_hull_image

    if not line.any():
        return np.zeros(line.shape, np.uint8)
    filled = binary_fill_holes(line)
    height, width = (np.ptp(np.flatnonzero(line.any(axis=axis))) + 1 for axis in (1, 0))
    return np.asarray(filled if 3 * filled.sum() >= height * width else convex_hull_image(line), np.uint8)


def _foreground(path: Path, jpeg: bool) -> NDArray[np.bool_]:
    image = open_picture(path, also=("GIF",))
    deep = is_deep(image)
    pixels = np.array(image) if deep else _grey(path, image)
    top = pixels.max()
    foreground: NDArray[np.bool_] = pixels != 0
    if top in ((0, 1, 255, 65535) if deep else (0, 1, 255)) and not (pixels[foreground] != top).any():
        return foreground
    if jpeg and is_jpeg(path):
        return _black_and_white(path, pixels)
    raise InputError(path, f"mask has grey values {_some(np.unique(pixels).tolist())}", _remedy(path, image))


def _black_and_white(path: Path, pixels: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """The white of a JPEG, whose greys may only be the noise along edges.

    Raises:
        InputError: it has no white, or an area of grey.
    """
    from scipy.ndimage import minimum_filter

    low, high = _SOFT
    if pixels.max() < high or minimum_filter((pixels >= low) & (pixels < high), _THICK).any():
        reason = f"is a JPEG with more grey {_some(np.unique(pixels).tolist())} than compression leaves along edges"
        raise InputError(path, reason, "save the mask with the two values 0 and 255, as PNG")
    return np.asarray(pixels >= THRESHOLD)


def _label_values(path: Path) -> NDArray[np.generic]:
    """Indices of a palette picture, values of a grey one."""
    if (kind := sniff(path)) in _INEXACT:
        reason = f"is a {kind} file, whose values are not exact"
        raise InputError(path, reason, "leave out --labels, or save it again as PNG")
    image = open_picture(path, also=("GIF",))
    if is_deep(image) or image.mode in {"1", "L", "P"}:
        return np.array(image)
    return _grey(path, image)


def _grey(path: Path, image: Image.Image) -> Mask:
    plain = opaque(path, image, "mask")
    if plain.mode in {"1", "L"}:
        return np.array(plain.convert("L"))
    pixels = np.array(plain.convert("RGB"))
    coloured = (pixels != pixels[..., :1]).any(axis=-1)
    if coloured.any():
        colours = [tuple(map(int, colour)) for colour in np.unique(pixels[coloured], axis=0)]
        raise InputError(path, f"mask has colours {_some(colours)}", _remedy(path, image))
    return pixels[..., 0]


def _remedy(path: Path, image: Image.Image) -> str:
    """What to do about a mask that has more than two values, or colours."""
    if is_jpeg(path):
        return "save it with the two values 0 and 255, as PNG; 'delineate data index' takes what is only compression"
    remedy = "save it with the two values 0 and 255, as PNG"
    if image.mode not in {"P", "L", "I", "I;16"}:
        return remedy
    values, what = np.unique(np.array(image)), "palette indices" if image.mode == "P" else "values"
    if len(values) > _FEW:
        return remedy
    seen = _some(values.tolist(), _FEW)
    several = "of several structures each: --structure NAME=VALUES"
    return f"{remedy}, or name the {what} that are the object, of {seen}: --labels; {several}"


def _resized(path: Path, mask: Mask, size: Sequence[int]) -> Mask:
    rows, columns = map(int, size)
    if not same_shape(mask.shape, (rows, columns)):
        reason = f"mask is {size_text(mask)}, image is {columns}x{rows}, of other proportions"
        raise InputError(path, reason, "take the mask drawn on this very image, or remove the pair")
    return np.array(Image.fromarray(mask).resize((columns, rows), Image.Resampling.NEAREST))


def _some(values: Sequence[object], most: int = 5) -> str:
    return f"({', '.join([*map(str, values[:most]), '...'] if len(values) > most else map(str, values))})"
