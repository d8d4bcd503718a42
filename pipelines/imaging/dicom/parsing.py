"""From bytes to a pydicom data set, or a refusal: the only place where a DICOM file is opened."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ...core.errors import InputError
from ...core.files import refuse_irregular
from ..filetypes import READABLE, name_of, sniff_bytes

COPY_AGAIN = "copy or export it again"
NAME_DICOM = "name a DICOM file, or remove it"
MAX_BYTES = 2**31
"""What a file may hold, packed or decoded."""
MAX_INFLATED = 2**28
"""What a deflated data set may become. Deflate packs zeros a thousandfold, and nothing tells the size beforehand."""

APART = "gdcm, apart"
"""The decoder of JPEG lossless and JPEG-LS, which pydicom does not call: see `jpeg_lossless`."""

SYNTAXES = {
    ImplicitVRLittleEndian: "",
    ExplicitVRLittleEndian: "",
    ExplicitVRBigEndian: "",
    DeflatedExplicitVRLittleEndian: "",
    RLELossless: "pydicom",
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEGLossless: APART,
    JPEGLosslessSV1: APART,
    JPEGLSLossless: APART,
    JPEGLSNearLossless: APART,
    JPEG2000Lossless: "pillow",
    JPEG2000: "pillow",
}
"""Transfer syntaxes that are read, and pydicom's name of the decoder: one each, so that a file has one result."""

_EXPORT = "export it as Explicit VR Little Endian"
_FILM = "write the film out (gdcmraw -i FILE -o film), then its frames as PNG (ffmpeg -i film frame_%05d.png)"
_NOT_READ = (
    (r"1\.2\.840\.10008\.1\.2\.4\.10\d(\.1)?", _FILM),  # MPEG-2, MPEG-4 (H.264), HEVC
    (r"1\.2\.840\.10008\.1\.2\.4\.(5[2-69]|6\d)", "decompress it (dcmdjpeg FILE NEW)"),  # retired kinds of JPEG
    (r"1\.2\.840\.10008\.1\.2\.4\.(9[45]|20[45])", "it names a server in place of pixels: export it with its pixels"),
)
"""Transfer syntaxes that are not read, as patterns, and what to do; `_EXPORT` for all others."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_turn = threading.Lock()
_hushed: list[warnings.catch_warnings[None]] = []  # one entry for each reader at work; the first restores the filters
logging.getLogger("pydicom").setLevel(
    logging.CRITICAL
)  # what matters of it is refused; it repeats the rest as warnings


class UnsoundError(ValueError):
    """What is wrong with a data set, and what to do; `refusing` adds which file it is."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def is_dicom(path: str | Path) -> bool:
    """Whether a file says it is DICOM: by the prefix ``DICM``, the suffix ``.dcm``, or how its data set begins.

    Looks at 132 bytes, never raises; `read_header` tells whether the file is in order.
    """
    path = Path(path)
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(132)
    except (OSError, ValueError):
        return False
    named = path.suffix.lower() == ".dcm" and sniff_bytes(start) not in READABLE
    return start[128:] == b"DICM" or named or _begins_data_set(start)


def parse(path: Path, pixels: bool) -> tuple[Dataset, int]:
    """The data set of a file.

    Args:
        path: the file.
        pixels: whether pixel data are read, too.

    Returns:
        the data set, with ``file_meta``; the bytes that follow it in the file.

    Raises:
        InputError: there is no such file, or it cannot be read. Whatever else pydicom raises is left to `refusing`.
    """
    _refuse_missing(path)
    with path.open("rb") as file:
        syntax = start_of_data(path, file)
        stream = _inflated(path, file) if syntax == DeflatedExplicitVRLittleEndian else file
        stop = None if pixels else lambda tag, vr, length: tag in _PIXEL_DATA
        dataset = read_dataset(stream, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=stop)
        end = stream.tell()
        rest = stream.seek(0, os.SEEK_END) - end
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset, rest


def start_of_data(path: Path, file: BinaryIO) -> UID:
    """Read up to the data set; what tells nothing is taken by how its first element looks.

    Returns:
        the transfer syntax of the data set.

    Raises:
        InputError: it is no DICOM file, or has a transfer syntax that is not read here.
    """
    start = file.read(132)
    if start[128:] == b"DICM":
        meta = read_dataset(file, False, True, stop_when=_after_meta)
        if "TransferSyntaxUID" in meta:
            return _known(path, UID(str(meta.TransferSyntaxUID)))
        start = file.read(8)
        file.seek(-len(start), os.SEEK_CUR)
    else:
        file.seek(0)
    if not _begins_data_set(start):
        found = name_of(sniff_bytes(start))
        reason = f"is no DICOM file ({f'it holds {found}' if found else 'no DICM prefix, no data set'})"
        raise InputError(path, reason, NAME_DICOM)
    return ExplicitVRLittleEndian if start[4:6].isalpha() else ImplicitVRLittleEndian


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What goes wrong in the block is a refusal of the file, and nobody hears of pydicom's warnings.

    pydicom converts a value when it is asked for, so a broken file may raise anything at any time.

    Raises:
        InputError: something went wrong.
    """
    with quiet():
        try:
            yield
        except InputError:
            raise
        except UnsoundError as error:
            raise InputError(path, error.reason, error.remedy) from error
        except Exception as error:
            raise InputError(path, f"cannot be read as DICOM ({printable(error)})", COPY_AGAIN) from error


def stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file changes: its time and size; for caches."""
    if not path.is_file():
        return None
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def text(group: Dataset, keyword: str) -> str:
    """A value as text, ``""`` where there is none."""
    value = group.get(keyword)
    return "" if value is None else str(value).strip()


def uid(group: Dataset, keyword: str) -> str:
    """A UID, ``""`` where there is none, or none of the standard's form: 64 digits and points at most (PS3.5, 9.1)."""
    value = text(group, keyword)
    return value if len(value) <= 64 and _UID.fullmatch(value) else ""


def numbers(group: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """The first ``count`` numbers of a value; ``None`` where there are fewer, or one is not finite."""
    value = group.get(keyword)
    if value is None or value == "":
        return None
    values = list(value)[:count] if isinstance(value, MultiValue | list | tuple) else [value]
    found = tuple(float(one) for one in values)
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def printable(value: object, most: int = 160) -> str:
    """One short line without control characters: files may hold anything."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(value)[: 4 * most])
    line = " ".join(line.split())
    return line if len(line) <= most else f"{line[:most]}..."


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings. ``catch_warnings`` alone would restore the wrong filters when several threads leave it."""
    with _turn:
        if not _hushed:
            first = warnings.catch_warnings()
            first.__enter__()
            warnings.simplefilter("ignore")
        else:
            first = _hushed[0]
        _hushed.append(first)
    try:
        yield
    finally:
        with _turn:
            last = _hushed.pop()
            if not _hushed:
                last.__exit__(None, None, None)


def _begins_data_set(start: bytes) -> bool:
    """Whether these bytes are an element of group 0008, little endian, explicit or implicit."""
    if start[:2] != b"\x08\x00" or len(start) < 8:
        return False
    return start[4:6].isalpha() or int.from_bytes(start[4:8], "little") < 256


def _refuse_missing(path: Path) -> None:
    refuse_irregular(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(path, f"has {size} bytes, more than {MAX_BYTES}", "export fewer frames")


def _known(path: Path, syntax: UID) -> UID:
    if syntax not in SYNTAXES:
        reason = f"has the transfer syntax {printable(syntax.name)}, which is not read here"
        remedy = next((remedy for pattern, remedy in _NOT_READ if re.fullmatch(pattern, syntax)), _EXPORT)
        raise InputError(path, reason, remedy)
    return next(known for known in SYNTAXES if known == syntax)


def _after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2


def _inflated(path: Path, file: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(file.read(), MAX_INFLATED + 1)
    if len(data) > MAX_INFLATED:
        reason = f"is deflated and becomes more than {MAX_INFLATED >> 20} MiB"
        raise InputError(path, reason, "convert it to Explicit VR Little Endian if you trust it")
    if not inflater.eof:
        raise InputError(path, "is cut off: its deflated data set has no end", COPY_AGAIN)
    return BytesIO(data)
