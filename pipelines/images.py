"""The one channel policy and the one mask decoder: pictures in, plain arrays out, or a refusal by name.

EXIF orientation is always applied, so an array shows what a viewer shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import InputError
from .files import write_atomically

Channels = Literal["rgb", "grey"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})  # compare in lower case
MAX_PIXELS = 89_478_485  # 256 MiB of RGB, where Pillow starts to warn of a decompression bomb

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
_PLAIN_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "YCbCr"})
_COPY_AGAIN = "copy or download it again"


def read_image(path: str | Path, channels: Channels) -> NDArray[np.uint8]:
    """Decode a picture.

    ``rgb`` repeats a grey picture three times; ``grey`` takes the ITU-R 601 luminance of a colour one (R = G
    = B stays as it is). An alpha channel is dropped where it is opaque all over.

    Args:
        path: a JPEG, PNG, TIFF or BMP file with 8 bits (or 1 bit) a channel.
        channels: what the network takes.

    Returns:
        (H, W, 3) for ``rgb``, (H, W, 1) for ``grey``; values 0 to 255.

    Raises:
        InputError: the file is missing, broken, too large, has several frames, real transparency, more than
            8 bits a channel, or colours that are neither grey nor RGB.
    """
    path = Path(path)
    image = _open(path)
    if _is_deep(image):
        raise _too_deep(path)
    image = _opaque(path, image, "image")
    if image.mode != "L":
        image = image.convert("RGB")
    pixels = np.array(image.convert("RGB" if channels == "rgb" else "L"))
    return pixels.reshape(*pixels.shape[:2], -1)


def read_mask(paths: str | Path | Sequence[str | Path], outline: bool = False) -> NDArray[np.uint8]:
    """Decode a mask; several files are united (OR).

    Understood are the values 0/1 and 0/255 (with 16 bits also 0/65535), as grey, palette (by its colours, not
    its indices) or R = G = B, with an opaque alpha channel or none. Nothing is ever thresholded.

    Args:
        paths: one file or several.
        outline: each file holds a contour, which is filled as `fill_outline` does.

    Returns:
        (H, W), values 0 and 1.

    Raises:
        InputError: as `read_image`, and for other grey values, colours, or files of different sizes.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    union = _read_one_mask(files[0], outline)
    for file in files[1:]:
        mask = _read_one_mask(file, outline)
        if mask.shape != union.shape:
            reason = f"mask is {size_text(mask)}, mask {files[0].name} of the same image is {size_text(union)}"
            raise InputError(file, reason, "make the masks of one image the same size")
        union |= mask
    return union.astype(np.uint8)


def fill_outline(line: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.uint8]:
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


def write_png(path: str | Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a PNG that is either whole or not there.

    Args:
        path: the file; its folder exists.
        pixels: (H, W) uint8 or uint16, or (H, W, 3) uint8.

    Raises:
        ValueError: another shape or type.
    """
    if (pixels.dtype.name, *pixels.shape[2:]) not in {
        ("uint8",),
        ("uint8", 3),
        ("uint16",),
    } or pixels.ndim < 2:
        raise ValueError(f"cannot write {pixels.dtype} of shape {pixels.shape} as PNG")
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())


def size_text(pixels: NDArray[np.generic]) -> str:
    """Width x height of an (H, W, ...) array as people write it: ``600x450``."""
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _open(path: Path) -> Image.Image:
    """Decode the file and turn it upright."""
    _refuse_missing(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _refuse_header(path, image)
            return ImageOps.exif_transpose(image)
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        raise InputError(path, "is not a JPEG, PNG, TIFF or BMP image", "convert it, or remove it") from error
    except Exception as error:  # Pillow: OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise InputError(path, f"cannot be decoded ({error})", _COPY_AGAIN) from error


def _refuse_missing(path: Path) -> None:
    if path.is_dir():
        raise InputError(path, "is a folder, not an image", "name an image file")
    if not path.exists():
        raise InputError(path, "does not exist", "check the path")
    if path.stat().st_size == 0:
        raise InputError(path, "is empty (0 bytes)", _COPY_AGAIN)


def _refuse_header(path: Path, image: Image.Image) -> None:
    """Refuse what decoding would make silently wrong."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path)
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photo and its previews
    if frames > 1:
        raise InputError(path, f"has {frames} frames", "save each frame as a file of its own")
    if not _is_deep(image) and _is_cut_to_8_bits(image):
        raise _too_deep(path)
    if _is_deep(image) and getattr(image, "tag_v2", {}).get(262) == 0:
        raise InputError(path, "is a 16-bit TIFF whose zero is white", "save it with zero as black")


def _is_deep(image: Image.Image) -> bool:
    return image.mode in {"I", "F"} or image.mode.startswith("I;")


def _is_cut_to_8_bits(image: Image.Image) -> bool:
    """Whether Pillow will drop the lower half of 16-bit colours (raw mode ``RGB;16B`` or the like)."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles and image.format in {"PNG", "TIFF"} else ""
    raw_mode = arguments[0] if isinstance(arguments, tuple) else arguments
    return ";16" in str(raw_mode)


def _opaque(path: Path, image: Image.Image, what: str) -> Image.Image:
    """The image without its alpha channel, which must be opaque."""
    if image.mode not in _PLAIN_MODES:
        raise InputError(path, f"{what} has colour mode {image.mode}", "convert it to 8-bit grey or RGB")
    if not image.has_transparency_data:
        return image
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() != (255, 255):
        raise InputError(path, f"{what} has transparent pixels", "save it without an alpha channel")
    return rgba.convert("RGB")


def _read_one_mask(path: Path, outline: bool) -> NDArray[np.bool_]:
    image = _open(path)
    deep = _is_deep(image)
    pixels = np.array(image) if deep else _grey_of_mask(path, image)
    top = pixels.max()
    foreground: NDArray[np.bool_] = pixels != 0
    if top not in ((0, 1, 255, 65535) if deep else (0, 1, 255)) or (pixels[foreground] != top).any():
        reason = f"mask has grey values {_some([str(value) for value in np.unique(pixels)])}"
        raise InputError(path, reason, "save it with the two values 0 and 255, as PNG")
    return fill_outline(foreground).astype(np.bool_) if outline else foreground


def _grey_of_mask(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    image = _opaque(path, image, "mask")
    if image.mode in {"1", "L"}:
        return np.array(image.convert("L"))
    pixels = np.array(image.convert("RGB"))
    coloured = (pixels != pixels[..., :1]).any(axis=-1)
    if coloured.any():
        colours = [str(tuple(map(int, colour))) for colour in np.unique(pixels[coloured], axis=0)]
        raise InputError(path, f"mask has colours {_some(colours)}", "save the object alone as grey 0 and 255")
    return pixels[..., 0]


def _some(values: list[str], most: int = 5) -> str:
    return f"({', '.join([*values[:most], '...'] if len(values) > most else values)})"


def _too_deep(path: Path) -> InputError:
    remedy = "window it to 8 bits first (choose the range to show, then save it as 8-bit PNG)"
    return InputError(path, "image has more than 8 bits a channel", remedy)


def _too_large(path: Path) -> InputError:
    return InputError(path, f"has more than {MAX_PIXELS / 1e6:.0f} million pixels", "cut it or make it smaller")
