"""What a DICOM file declares: whether it is an image, and one that may be decoded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, SecondaryCaptureImageStorage

from ...core.errors import InputError, SkippedError
from ..pictures import MAX_PIXELS
from .parsing import COPY_AGAIN, MAX_BYTES, SYNTAXES, parse, printable, refusing, text, uid

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
MANUFACTURER = "Delineate"
"""Of what Delineate makes, and nothing else."""
LABEL_MAP = UID("1.2.840.10008.5.1.4.1.1.66.7")  # pydicom 3.0 has no name for it
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
PALETTE = "PALETTE COLOR"
_LEAST_FRAME = 8  # bytes that a packed frame takes: the head of its item
UID_UNUSED = "the image is used, the UID is not"
"""What follows on each of `malformed_uids`."""
_CONVERT = "convert it to 8-bit grey or RGB"


class Declared(NamedTuple):
    """The pixels that a header declares."""

    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    photometric: str


def read_header(path: str | Path) -> Dataset:
    """What an image file says of itself, without its pixels.

    Returns:
        the data set, with ``file_meta.TransferSyntaxUID``.

    Raises:
        SkippedError: the file is in order but no image: a report, plan, structure set, dose, segmentation, ...
        InputError: it is broken, too large, or of a kind that is not read here.
    """
    path = Path(path)
    with refusing(path):
        dataset, rest = parse(path, pixels=False)
        refuse_other_objects(path, dataset)
        tag = 8 if dataset.file_meta.TransferSyntaxUID.is_implicit_VR else 12  # and length, before pixel data
        refuse_missing_pixels(path, dataset, declared(path, dataset), max(0, rest - tag))
        return dataset


def malformed_uids(path: Path, dataset: Dataset) -> list[str]:
    """What is wrong with the UIDs that name the image, in words; such a UID is taken for none."""
    with refusing(path):
        return [
            f"has a {keyword} that breaks the standard's form ({printable(text(dataset, keyword), 70)!r})"
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
            if text(dataset, keyword) and not uid(dataset, keyword)
        ]


def sop_class(dataset: Dataset) -> UID:
    """What kind of object the data set is; empty where it does not say."""
    return UID(text(dataset, "SOPClassUID"))


def is_ours(dataset: Dataset) -> bool:
    """Whether the data set says that Delineate made it."""
    return text(dataset, "Manufacturer") == MANUFACTURER


def is_own_picture(dataset: Dataset) -> bool:
    """Whether it is a picture with outlines that Delineate drew."""
    return sop_class(dataset) == SecondaryCaptureImageStorage and is_ours(dataset)


def refuse_other_objects(path: Path, dataset: Dataset) -> None:
    """See that the data set is an image. A class that pydicom does not know (private) is judged by its header.

    Raises:
        SkippedError: it is something else.
        InputError: it is said to be one, and says nothing of its size.
    """
    kind = sop_class(dataset)
    if kind == LABEL_MAP:
        raise SkippedError(path, "is not an image (Label Map Segmentation)", "passed over")
    if is_own_picture(dataset):
        raise SkippedError(path, "is a picture with outlines that Delineate drew", "passed over; name its source")
    known = kind.name != kind
    is_image = "Image Storage" in kind.name or kind.name == "Enhanced US Volume Storage"
    if (known and not is_image) or "DirectoryRecordSequence" in dataset:
        name = kind.name.removesuffix(" Storage") if known else "directory of a medium (DICOMDIR)"
        raise SkippedError(path, f"is not an image ({name})", "passed over")
    if "Rows" not in dataset or "Columns" not in dataset:
        raise InputError(path, "has no image (Rows and Columns are missing)", COPY_AGAIN)


def declared(path: Path, dataset: Dataset) -> Declared:
    """The pixels that the header declares, each number checked.

    Raises:
        InputError: a number is missing, impossible, or above what is read.
    """
    found = Declared(
        frames=_count(path, dataset, "NumberOfFrames", 1),
        rows=_count(path, dataset, "Rows"),
        columns=_count(path, dataset, "Columns"),
        samples=_count(path, dataset, "SamplesPerPixel", 1),
        allocated=_count(path, dataset, "BitsAllocated"),
        stored=_count(path, dataset, "BitsStored"),
        photometric=text(dataset, "PhotometricInterpretation"),
    )
    high = dataset.get("HighBit")
    if found.allocated not in (1, 8, 16, 32) or found.stored > found.allocated or high not in (None, found.stored - 1):
        bits = f"{found.stored} of {found.allocated} bits, the highest is {printable(high)}"
        raise InputError(path, f"stores {bits}", "needed are 1, 8, 16 or 32 bits, stored in the lowest of them")
    if dataset.get("PixelRepresentation", 0) not in (0, 1):
        raise InputError(path, "does not say whether its values are signed", COPY_AGAIN)
    _refuse_colours(path, found)
    _refuse_giants(path, found)
    return found


def refuse_missing_pixels(path: Path, dataset: Dataset, header: Declared, there: int) -> None:
    """See that the pixel data are complete.

    Raises:
        InputError: fewer bytes are ``there`` than the header declares.
    """
    native = not SYNTAXES[dataset.file_meta.TransferSyntaxUID]
    needed = get_expected_length(dataset) if native else _LEAST_FRAME * header.frames
    if there < needed:
        sizes = f"{header.frames} x {header.rows} x {header.columns} x {header.samples} values"
        reason = f"has {there} bytes of pixel data where {sizes} take {needed}" if there else "has no pixel data"
        raise InputError(path, reason, COPY_AGAIN)


def _count(path: Path, dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = dataset.get(keyword)
    if value in (None, "") and default is not None:
        return default
    if not str(value).isdecimal() or not 0 < int(str(value)) < 2**32:
        raise InputError(path, f"says {keyword} is {printable(value)}", f"needed is a number above 0; {COPY_AGAIN}")
    return int(str(value))


def _refuse_colours(path: Path, header: Declared) -> None:
    photometric, samples, allocated, stored = header.photometric, header.samples, header.allocated, header.stored
    if photometric not in {*GREY, *COLOUR, PALETTE}:
        raise InputError(path, f"has the colours {printable(photometric) or '(not given)'}", _CONVERT)
    if samples != (3 if photometric in COLOUR else 1):
        raise InputError(path, f"has {samples} values a pixel, but is {photometric}", COPY_AGAIN)
    if photometric in COLOUR and (allocated not in (8, 16) or stored < 8 or (allocated != 8 and photometric != "RGB")):
        raise InputError(path, f"is {photometric} with {stored} of {allocated} bits", _CONVERT)


def _refuse_giants(path: Path, header: Declared) -> None:
    if header.rows * header.columns > MAX_PIXELS:
        reason = f"declares {header.rows} x {header.columns}, more than {MAX_PIXELS / 1e6:.0f} million pixels"
        raise InputError(path, reason, "cut it or make it smaller")
    bytes_ = header.frames * header.rows * header.columns * header.samples * max(1, header.allocated // 8)
    if bytes_ > MAX_BYTES:
        reason = f"declares {header.frames} frames, {bytes_ / 2**30:.1f} GiB; {MAX_BYTES >> 30} GiB are read"
        raise InputError(path, reason, "export fewer frames")
