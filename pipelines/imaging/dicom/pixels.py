"""Pixel data to arrays: stored values of grey frames, RGB of coloured ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from ...core.errors import InputError
from .codestreams import Size, codestream_sizes
from .header import COLOUR, PALETTE, Declared, refuse_missing_pixels
from .jpeg_lossless import Frame, decode_jpeg_lossless
from .parsing import APART, COPY_AGAIN, SYNTAXES


def decode(path: Path, dataset: Dataset, header: Declared) -> NDArray[Any]:
    """All frames of an image.

    Colours become RGB. Of more than 8 bits the upper 8 are taken, and of a palette's 16.

    Returns:
        (F, R, C) stored values, overlays in unused bits masked off; (F, R, C, 3) uint8.

    Raises:
        InputError: pixel data are missing, or contradict the header.
    """
    refuse_unsound_pixels(path, dataset, header)
    if header.photometric == PALETTE and "RedPaletteColorLookupTableData" not in dataset:
        raise InputError(path, "has a segmented palette, or none", "convert it to RGB")  # a few bytes can be gigabytes
    decoded: NDArray[Any] | None = None
    for index, (frame, photometric) in enumerate(islice(_frames(dataset, header), header.frames)):
        shown = _rgb(frame, dataset, header, photometric)
        if decoded is None:
            decoded = np.empty((header.frames, *shown.shape), shown.dtype.newbyteorder("="))
        decoded[index] = shown
    if decoded is None or index + 1 < header.frames:
        raise InputError(path, f"has fewer frames than the {header.frames} it declares", COPY_AGAIN)
    return decoded


def decode_bits(dataset: Dataset, header: Declared, index: int) -> NDArray[np.uint8]:
    """A frame of 1 bit a pixel, uncompressed: (R, C), 0 or 1. Frames may begin within a byte, where pydicom fails.

    Raises:
        ValueError: it is in big endian.
    """
    if not dataset.file_meta.TransferSyntaxUID.is_little_endian:
        raise ValueError("it has 1 bit a pixel in big endian")
    size = header.rows * header.columns
    first, last = index * size, (index + 1) * size
    packed = np.frombuffer(dataset.PixelData, np.uint8)[first // 8 : -(-last // 8)]
    bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:size]
    return bits.reshape(header.rows, header.columns)


def refuse_unsound_pixels(path: Path, dataset: Dataset, header: Declared) -> None:
    """Raise where pixel data are shorter than declared, or a compressed frame is of another size."""
    data = dataset.get("PixelData")
    refuse_missing_pixels(path, dataset, header, len(data or b""))
    if SYNTAXES[dataset.file_meta.TransferSyntaxUID] in ("", "pydicom"):
        return  # RLE has no size of its own
    for number, frame in enumerate(_codestreams(dataset, header), start=1):
        sizes = codestream_sizes(frame)
        _refuse_other_size(path, number, sizes, header)
        _refuse_other_depth(path, dataset.file_meta.TransferSyntaxUID, sizes[0].bits)


def _frames(dataset: Dataset, header: Declared) -> Iterator[tuple[NDArray[Any], str]]:
    """Frames and their colours as decoded."""
    if SYNTAXES[dataset.file_meta.TransferSyntaxUID] == APART:
        _unpack(dataset, header)
    syntax = dataset.file_meta.TransferSyntaxUID
    if header.allocated == 1 and not SYNTAXES[syntax]:
        for index in range(header.frames):
            yield decode_bits(dataset, header, index), header.photometric
        return
    frames = get_decoder(syntax).iter_array(dataset, decoding_plugin=SYNTAXES[syntax], allow_excess_frames=False)
    for frame, facts in frames:
        yield frame, str(facts["photometric_interpretation"])


def _codestreams(dataset: Dataset, header: Declared) -> Iterator[bytes]:
    tables = (dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths"))
    offsets = tables if all(tables) else None
    return generate_frames(dataset.PixelData, number_of_frames=header.frames, extended_offsets=offsets)


def _unpack(dataset: Dataset, header: Declared) -> None:
    """Put the values in the place of JPEG lossless or JPEG-LS data."""
    _, rows, columns, samples, allocated, stored, photometric = header
    signed, syntax = int(dataset.get("PixelRepresentation", 0)), str(dataset.file_meta.TransferSyntaxUID)
    streams = list(islice(_codestreams(dataset, header), header.frames))
    if syntax in (JPEGLSLossless, JPEGLSNearLossless):  # GDCM ends its process where these are not those of the data
        stored = max(size.bits for stream in streams for size in codestream_sizes(stream))
        allocated = 8 if stored == 8 else 16
    frame = Frame(rows, columns, samples, allocated, stored, signed, photometric, syntax)
    values = b"".join(decode_jpeg_lossless(stream, frame) for stream in streams)
    wider = allocated < header.allocated
    dataset.PixelData = np.frombuffer(values, np.uint8).astype("<u2").tobytes() if wider else values
    dataset.PlanarConfiguration = 0
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _refuse_other_size(path: Path, number: int, sizes: list[Size], header: Declared) -> None:
    needed = (header.rows, header.columns, header.samples)
    if len(sizes) == 1 and sizes[0][:3] == needed and sizes[0].bits <= header.allocated:
        return
    found = " and ".join("{} x {} x {} of {} bits".format(*size) for size in sizes[:3]) or "of no known size"
    reason = f"declares {' x '.join(map(str, needed))} of {header.allocated} bits, but its frame {number} is {found}"
    raise InputError(path, reason, COPY_AGAIN)


def _refuse_other_depth(path: Path, syntax: UID, bits: int) -> None:
    """Raise where the decoders here do not take as many bits a value."""
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and bits > 8:
        remedy = "decompress it (dcmdjpeg FILE NEW, or gdcmconv --raw FILE NEW)"
        raise InputError(path, f"is JPEG of {bits} bits; 8 are read", remedy)
    if syntax in (JPEGLSLossless, JPEGLSNearLossless) and bits < 8:
        raise InputError(path, f"is JPEG-LS of {bits} bits; 8 to 16 are read", "decompress it (dcmdjpls FILE NEW)")


def _rgb(frame: NDArray[Any], dataset: Dataset, header: Declared, photometric: str) -> NDArray[Any]:
    """A coloured frame as RGB of 8 bits, a grey one as it is."""
    if header.photometric == PALETTE:
        colours = apply_color_lut(frame, dataset)[..., :3]
        narrow = colours.dtype == np.uint8 or int(colours.max()) < 256  # some write 8 bits and say 16
        return np.asarray(colours if narrow else colours >> 8, np.uint8)
    if header.photometric not in COLOUR:
        return frame
    if photometric != "RGB" or frame.dtype.kind != "u":
        raise ValueError(f"{header.photometric} of {frame.dtype} decoded to {photometric}, not to RGB")
    return np.asarray(frame >> (header.stored - 8), np.uint8)
