"""DICOM SEG: the mask of one source image."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import SegmentationStorage

from ...core.errors import InputError, SkippedError
from .header import LABEL_MAP, Declared, declared, is_ours, sop_class
from .parsing import COPY_AGAIN, SYNTAXES, is_dicom, parse, printable, refusing, stamp, text, uid
from .pixels import decode_bits, refuse_unsound_pixels


class _Source(NamedTuple):
    """An image that a frame was drawn on; of several frames those numbered, from 1, or all where none is."""

    sop_uid: str
    frames: frozenset[int]


@dataclass(frozen=True, eq=False)
class _Segmentation:
    """A SEG file: its sources and segment (``None`` in a label map) for each frame."""

    dataset: Dataset
    header: Declared
    kind: str
    segments: frozenset[int]
    frames: tuple[tuple[frozenset[_Source], int | None], ...]


def is_seg(path: str | Path) -> bool:
    """Whether a file is a DICOM SEG; never raises."""
    path = Path(path)
    if not is_dicom(path):
        return False
    try:
        with refusing(path):
            return _is_seg(parse(path, pixels=False)[0])
    except InputError:
        return False


def seg_references(path: str | Path) -> set[str]:
    """SOP Instance UIDs of the images that a SEG was drawn on.

    Raises:
        SkippedError: Delineate made it: it is a result, nobody's annotation.
        InputError: the file is no SEG, or broken.
    """
    path = Path(path)
    with refusing(path):
        segmentation = _read(path, stamp(path))
        if is_ours(segmentation.dataset):
            remedy = "passed over; correct it in a viewer, and export it from there, to train with it"
            raise SkippedError(path, "is a result of Delineate, not an annotation", remedy)
        series = segmentation.dataset.get("ReferencedSeriesSequence") or []
        listed = {
            uid(image, "ReferencedSOPInstanceUID")
            for one in series
            for image in one.get("ReferencedInstanceSequence") or []
        }
        return listed | {source.sop_uid for sources, _ in segmentation.frames for source in sources}


def read_seg_mask(
    seg: str | Path, sop_uid: str, frame: int | None, shape: tuple[int, int], segments: Collection[int] | None = None
) -> NDArray[np.uint8]:
    """The mask that a SEG holds of one source image: the union of segments. FRACTIONAL ones count from a half.

    Args:
        seg: the SEG file.
        sop_uid: SOP Instance UID of the source image.
        frame: of the source image, from 1; ``None`` for its only one.
        shape: (R, C) of the source image.
        segments: by number; all where ``None``.

    Returns:
        (R, C), 0 or 1; empty where the SEG says nothing of the image.

    Raises:
        InputError: the file is no SEG, broken, of another size, has no such segment, or does not name its sources.
    """
    seg = Path(seg)
    with refusing(seg):
        found = _read(seg, stamp(seg))
        size = (found.header.rows, found.header.columns)
        if size != tuple(shape):
            reason = f"has masks of {size[0]} x {size[1]}, their image is {shape[0]} x {shape[1]}"
            raise InputError(seg, reason, "export it on the grid of the image")
        wanted = found.segments if segments is None else frozenset(segments)
        if not wanted <= found.segments:
            reason = f"has no segment {min(wanted - found.segments)}, but {', '.join(map(str, sorted(found.segments)))}"
            raise InputError(seg, reason, "name one of these")
        if not any(sources for sources, _ in found.frames):
            raise InputError(seg, "does not name the images it was drawn on", "export it with its source images")
        mask = np.zeros(size, np.bool_)
        for index, (sources, segment) in enumerate(found.frames):
            if segment in {None, *wanted} and any(_matches(source, sop_uid, frame) for source in sources):
                mask |= _decoded(found, index, wanted)
        return mask.astype(np.uint8)


def _matches(source: _Source, sop_uid: str, frame: int | None) -> bool:
    return source.sop_uid == sop_uid and (frame is None or not source.frames or frame in source.frames)


def _decoded(found: _Segmentation, index: int, wanted: Collection[int]) -> NDArray[np.bool_]:
    plugin = SYNTAXES[found.dataset.file_meta.TransferSyntaxUID]
    if found.header.allocated == 1 and not plugin:
        return decode_bits(found.dataset, found.header, index).astype(np.bool_)
    decoder = get_decoder(found.dataset.file_meta.TransferSyntaxUID)
    values, _ = decoder.as_array(found.dataset, index=index, raw=True, decoding_plugin=plugin)
    if found.kind == "LABELMAP":
        return np.isin(values, [*wanted])
    if found.kind == "FRACTIONAL":
        return np.asarray(2 * values.astype(np.int64) >= int(found.dataset.MaximumFractionalValue))
    return np.asarray(values != 0)


def _is_seg(dataset: Dataset) -> bool:
    return sop_class(dataset) in (SegmentationStorage, LABEL_MAP)


@lru_cache(maxsize=2)
def _read(path: Path, changed: tuple[int, int] | None) -> _Segmentation:
    dataset, _ = parse(path, pixels=False)  # refused before pixel data are loaded
    if not _is_seg(dataset):
        raise InputError(path, f"is no DICOM SEG but {printable(sop_class(dataset).name)}", "name a DICOM SEG")
    header = declared(path, dataset)
    dataset, _ = parse(path, pixels=True)
    refuse_unsound_pixels(path, dataset, header)
    kind = text(dataset, "SegmentationType")
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise InputError(path, f"has the segmentation type {printable(kind)}", "export it as BINARY")
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != header.frames:
        raise InputError(path, f"describes {len(groups)} frames, but declares {header.frames}", COPY_AGAIN)
    segments = frozenset(int(one.SegmentNumber) for one in dataset.SegmentSequence) - {0}  # 0: a label map's background
    frames = tuple((frozenset(_sources(path, group)), _segment(dataset, group, kind)) for group in groups)
    return _Segmentation(dataset, header, kind, segments, frames)


def _segment(dataset: Dataset, group: Dataset, kind: str) -> int | None:
    if kind == "LABELMAP":
        return None
    keyword = "SegmentIdentificationSequence"
    own = group.get(keyword) or dataset.SharedFunctionalGroupsSequence[0][keyword].value
    return int(own[0].ReferencedSegmentNumber)


def _sources(path: Path, group: Dataset) -> Iterator[_Source]:
    for derivation in group.get("DerivationImageSequence") or []:
        for image in derivation.get("SourceImageSequence") or []:
            if text(image, "SpatialLocationsPreserved") in ("NO", "REORIENTED_ONLY"):
                raise InputError(path, "is not on the grid of its images", "export it on the grid of the images")
            numbers = image.get("ReferencedFrameNumber") or []
            frames = [numbers] if isinstance(numbers, int | str) else numbers
            yield _Source(uid(image, "ReferencedSOPInstanceUID"), frozenset(int(number) for number in frames))
