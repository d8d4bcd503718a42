"""The one channel policy: pictures in, plain arrays out, or a refusal by name. Masks are read by `masks`.

EXIF orientation is always applied, so an array shows what a viewer shows.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features
from PIL.PngImagePlugin import PngInfo

from ...installation import install
from ..core.errors import InputError
from ..core.files import refuse_irregular, write_atomically
from .filetypes import KINDS, READABLE, name_of, refuse_foreign, sniff

Channels = Literal["rgb", "grey"]

MAX_PIXELS = 89_478_485  # 256 MiB of RGB, where Pillow starts to warn of a decompression bomb

_PLAIN_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "YCbCr"})
_COPY_AGAIN = "copy or download it again"


def read_image(path: str | Path, channels: Channels) -> NDArray[np.uint8]:
    """Decode a picture.

    ``rgb`` repeats a grey picture three times; ``grey`` takes the ITU-R 601 luminance of a colour one (R = G
    = B stays as it is). An alpha channel is dropped where it is opaque all over.

    Args:
        path: a JPEG, PNG, TIFF, BMP, WEBP, AVIF or HEIC file with 8 bits (or 1 bit) a channel, whatever its suffix.
        channels: what the network takes.

    Returns:
        (H, W, 3) for ``rgb``, (H, W, 1) for ``grey``; values 0 to 255.

    Raises:
        InputError: the file is missing, broken, too large, has several frames, real transparency, more than
            8 bits a channel, or colours that are neither grey nor RGB.
    """
    path = Path(path)
    return picture_pixels(path, open_picture(path), channels)


def picture_pixels(source: str | Path, image: Image.Image, channels: Channels) -> NDArray[np.uint8]:
    """An upright image of Pillow's by the channel policy of `read_image`; ``source`` names it in errors.

    Raises:
        InputError: it has more than 8 bits a channel, or transparent pixels.
    """
    if is_deep(image):
        raise _too_deep(source)
    image = opaque(source, image, "image")
    wanted = "RGB" if channels == "rgb" else "L"
    for mode in ("RGB", wanted) if image.mode != "L" else (wanted,):
        image = image if image.mode == mode else image.convert(mode)  # which copies where there is nothing to convert
    pixels = np.array(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def write_png(
    path: str | Path,
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    is_mask: bool = False,
    remarks: Mapping[str, str] | None = None,
) -> None:
    """Write a PNG that is either whole or not there.

    Args:
        path: the file; its folder exists.
        pixels: (H, W) uint8 or uint16, or (H, W, 3) uint8.
        is_mask: it has long runs of one value: it is written faster, and smaller, by these alone.
        remarks: texts by key, Latin-1.

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
    strategy = zlib.Z_RLE if is_mask else zlib.Z_DEFAULT_STRATEGY
    texts = PngInfo()
    for key, text in (remarks or {}).items():
        texts.add_text(key, text)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_type=strategy, pnginfo=texts)
    write_atomically(path, buffer.getvalue())


def size_text(pixels: NDArray[np.generic]) -> str:
    """Width x height of an (H, W, ...) array as people write it: ``600x450``."""
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def open_picture(path: Path, also: Collection[str] = ()) -> Image.Image:
    """Decode a file and turn it upright; its format is lost on the way.

    Args:
        path: the file.
        also: further kinds that are read, by Pillow's names; ``GIF`` is the only one.

    Raises:
        InputError: it is missing, broken, too large, or has several frames, or this user may not read it.
    """
    refuse_irregular(path)
    kind = "GIF" if "GIF" in also and sniff(path) == ".gif" else _kind(path)
    try:
        with Image.open(path, formats=[kind]) as image:
            return upright(path, image)
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        reason = f"cannot be decoded as {kind}: its header is damaged, or of a rare kind"
        raise InputError(path, reason, f"{_COPY_AGAIN}, or save it as 8-bit PNG") from error
    except Exception as error:
        raise _undecodable(path, error) from error


def upright(source: str | Path, image: Image.Image) -> Image.Image:
    """Decode an image that Pillow has opened, and turn it as its EXIF orientation says.

    Raises:
        InputError: it is broken, too large, has several frames, or decoding would make it silently wrong.
    """
    _refuse_header(source, image)
    try:
        image.load()
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception as error:
        raise _undecodable(source, error) from error


def is_turned(path: Path) -> bool:
    """Whether a picture's EXIF orientation turns or mirrors it; false where it says nothing, or cannot be read."""
    try:
        with Image.open(path) as image:
            return bool(image.getexif().get(ExifTags.Base.Orientation, 1) != 1)
    except Exception:  # whoever decodes it says what is wrong
        return False


def _undecodable(source: str | Path, error: Exception) -> InputError:
    """Pillow raises OSError, SyntaxError, ValueError, struct.error, zlib.error, ..."""
    return InputError(source, f"cannot be decoded ({error})", _remedy(error))


def _kind(path: Path) -> str:
    """Pillow's name of what the file holds, once that can be read.

    Raises:
        InputError: it holds something else, or what reads it is not installed.
    """
    kind = sniff(path)
    if kind == "DICOM":
        raise InputError(path, "is a DICOM file that is named like a picture", "give it the suffix .dcm")
    if kind not in READABLE:
        foreign = name_of(kind)
        reason = f"is not a {KINDS} image" + (f" but {foreign}" if foreign else "")
        raise refuse_foreign(path) or InputError(path, reason, "convert it, or remove it")
    if kind == "AVIF" and not ("avif" in features.modules and features.check("avif")):
        raise InputError(path, "is an AVIF image, which this Pillow does not read", "pip install --upgrade pillow")
    if kind == "AVIF" and _is_deep_avif(path):
        raise _too_deep(path)
    if kind == "HEIF":
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            reason = "is a HEIC image, and pillow-heif, which reads these, is not installed"
            raise InputError(path, reason, install("heif")) from error
        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return kind


def _is_deep_avif(path: Path) -> bool:
    """Whether an AVIF file has more than 8 bits a channel, which Pillow drops (AV1 in ISO base media files, 2.3.3)."""
    with path.open("rb") as file:
        _, _, settings = file.read(2**16).partition(b"av1C")
    return bool(settings[2:3] and settings[2] & 0x40)


def _remedy(error: Exception) -> str:
    """What to do about what Pillow says: it may be whole, and of a kind that Pillow lacks."""
    lacking = any(word in str(error).lower() for word in ("not available", "unsupported", "not supported", "unknown"))
    return "save it as 8-bit PNG" if lacking else _COPY_AGAIN


def _refuse_header(path: str | Path, image: Image.Image) -> None:
    """Refuse what decoding would make silently wrong."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path)
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photo and its previews
    if frames > 1:
        raise InputError(path, f"has {frames} frames", "save each frame as a file of its own")
    if not is_deep(image) and (_is_cut_to_8_bits(image) or image.info.get("bit_depth", 8) > 8):  # of HEIC
        raise _too_deep(path)
    if is_deep(image) and getattr(image, "tag_v2", {}).get(262) == 0:
        raise InputError(path, "is a 16-bit TIFF whose zero is white", "save it with zero as black")


def is_deep(image: Image.Image) -> bool:
    """Whether its one channel has more than 8 bits."""
    return image.mode in {"I", "F"} or image.mode.startswith("I;")


def _is_cut_to_8_bits(image: Image.Image) -> bool:
    """Whether Pillow will drop the lower half of 16-bit colours (raw mode ``RGB;16B`` or the like)."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles and image.format in {"PNG", "TIFF"} else ""
    raw_mode = arguments[0] if isinstance(arguments, tuple) else arguments
    return ";16" in str(raw_mode)


def opaque(path: str | Path, image: Image.Image, what: str) -> Image.Image:
    """The image without its alpha channel, which must be opaque.

    Args:
        path: for the refusal.
        image: as decoded.
        what: the word for it in the refusal.

    Raises:
        InputError: it has transparent pixels, or colours that are neither grey nor RGB.
    """
    if image.mode not in _PLAIN_MODES:
        raise InputError(path, f"{what} has colour mode {image.mode}", "convert it to 8-bit grey or RGB")
    if not image.has_transparency_data:
        return image
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() != (255, 255):
        raise InputError(path, f"{what} has transparent pixels", "save it without an alpha channel")
    return rgba.convert("RGB")


def _too_deep(path: str | Path) -> InputError:
    remedy = "window it to 8 bits first (choose the range to show, then save it as 8-bit PNG)"
    return InputError(path, "image has more than 8 bits a channel", remedy)


def _too_large(path: str | Path) -> InputError:
    return InputError(path, f"has more than {MAX_PIXELS / 1e6:.0f} million pixels", "cut it or make it smaller")
