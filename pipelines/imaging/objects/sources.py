"""The images that an object is of: their headers, one a frame, in a form that highdicom takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pydicom.valuerep import validate_value

from ...core.errors import InputError
from ..dicom.geometry import macro, read_planes
from ..dicom.header import declared, read_header
from ..dicom.parsing import stamp, text, uid

_NAMED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_ALWAYS_THERE = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_COPIED, _READ = (0x8, 0x10, 0x12, 0x32, 0x40), (0x18, 0x20, 0x28, 0x54, 0x5200)
"""Groups of attributes: those of patient and study, and those that say how the image is made and where it lies."""
_METHODS = "DeidentificationMethodCodeSequence"
_GEOMETRY = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
}


class Reference(NamedTuple):
    """What names a frame: class and UID of its image; its number, from 1, where the image has several."""

    sop_class: str
    sop_uid: str
    frame: int | None


class Sources(NamedTuple):
    """The frames of a result.

    Attributes:
        headers: one a frame, each as if it were an image of its own: highdicom takes many of these, and no films.
        references: of each header, by its SOP Instance UID, which is made up.
        lie: whether they say where in the patient they lie.
    """

    headers: list[Dataset]
    references: dict[str, Reference]
    lie: bool


def read_sources(frames: Sequence[tuple[Path, int]]) -> Sources:
    """The headers of frames.

    Args:
        frames: file and frame, from 0.

    Raises:
        InputError: a file is refused, or has no UIDs to refer to.
    """
    headers, references = [], {}
    for number, (path, frame) in enumerate(frames, start=1):
        whole = _whole(path, stamp(path))
        header = _of_frame(whole, frame)
        header.SOPInstanceUID = f"2.25.{number}"
        headers.append(header)
        several = declared(path, whole).frames > 1
        references[header.SOPInstanceUID] = Reference(
            text(whole, "SOPClassUID"), text(whole, "SOPInstanceUID"), frame + 1 if several else None
        )
    lie = all("FrameOfReferenceUID" in header for header in headers)
    if lie:
        for header in headers[1:]:  # the reader saw that they agree; highdicom wants them equal
            header.ImageOrientationPatient = headers[0].ImageOrientationPatient
    return Sources(headers, references, lie)


def refer(dataset: Dataset, references: dict[str, Reference]) -> None:
    """Let an object name its true sources, each once, where it names made-up ones."""
    for element in dataset:
        if element.VR != "SQ":
            continue
        items = element.value
        for item in items:
            if reference := references.get(str(item.get("ReferencedSOPInstanceUID", ""))):
                item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference[:2]
                if reference.frame is not None and element.keyword == "SourceImageSequence":
                    item.ReferencedFrameNumber = reference.frame
            refer(item, references)
        if element.keyword in ("SourceImageSequence", "ReferencedInstanceSequence") and len(items) > 1:
            _unite(element)


def _unite(element: DataElement) -> None:
    """One item an image; with the numbers of its frames."""
    once: dict[str, Dataset] = {}
    frames: dict[str, list[int]] = {}
    for item in element.value:
        name = str(item.ReferencedSOPInstanceUID)
        once.setdefault(name, item)
        if "ReferencedFrameNumber" in item:
            frames.setdefault(name, []).append(item.ReferencedFrameNumber)
    for name, numbers in frames.items():
        once[name].ReferencedFrameNumber = sorted(numbers)
    element.value = list(once.values())


@lru_cache(maxsize=2)
def _whole(path: Path, changed: tuple[int, int] | None) -> Dataset:
    header = _readable(read_header(path))
    for keyword in _NAMED:
        if not uid(header, keyword):
            raise InputError(path, f"has no sound {keyword}, by which an object names its source", "export it again")
    header.decode()
    header.SpecificCharacterSet = "ISO_IR 192"
    for element in [one for one in header if one.tag.group in _COPIED]:
        if element.is_empty or (element.VR != "SQ" and not _is_sound(element)):
            del header[element.tag]
    if header.get("PatientIdentityRemoved") == "YES" and not {"DeidentificationMethod", _METHODS} & set(header.dir()):
        header.DeidentificationMethod = "not told by the source"
    _complete_compression(path, header)
    if header.get("PatientSex") not in ("M", "F", "O"):
        header.PatientSex = None
    for keyword in _ALWAYS_THERE:
        if keyword not in header:
            setattr(header, keyword, None)
    return header


def _complete_compression(path: Path, header: Dataset) -> None:
    """Of a source that was once compressed with loss, by how much: where it does not say, as far as its size tells."""
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in header and header[keyword].is_empty:
            del header[keyword]
    if header.get("LossyImageCompression") == "01" and "LossyImageCompressionRatio" not in header:
        pixels = declared(path, header)
        size = pixels.frames * pixels.rows * pixels.columns * pixels.samples * pixels.allocated / 8
        header.LossyImageCompressionRatio = f"{max(1.0, size / path.stat().st_size):.3g}"


def _readable(header: Dataset) -> Dataset:
    """What an object may copy, without elements that cannot be read; strangers may write anything."""
    found = Dataset()
    found.file_meta = header.file_meta
    for tag in list(header.keys()):
        if tag.group in (*_COPIED, *_READ):
            with suppress(ValueError, TypeError, KeyError, AttributeError, NotImplementedError):
                found.add(header[tag])
    return found


def _of_frame(whole: Dataset, frame: int) -> Dataset:
    """A frame as if it were an image of its own; without a frame of reference unless it says where it lies."""
    groups = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    header = Dataset()
    header.update({element.tag: deepcopy(element) for element in whole if element.keyword not in groups})
    header.file_meta = whole.file_meta
    header.SOPClassUID = SecondaryCaptureImageStorage
    header.pop("NumberOfFrames", None)
    for sequence, keywords in _GEOMETRY.items():
        group = macro(whole, frame, sequence) or whole
        for keyword in keywords:
            if keyword in group:
                setattr(header, keyword, group[keyword].value)
    header.setdefault("SliceThickness", None)
    planes = read_planes(whole, int(whole.get("NumberOfFrames") or 1))
    if planes is None or not uid(whole, "FrameOfReferenceUID"):
        header.pop("FrameOfReferenceUID", None)
        if header.SliceThickness is None:  # highdicom reads no pixel spacing without
            header.pop("PixelSpacing", None)
    return header


def _is_sound(element: DataElement) -> bool:
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            validate_value(element.VR, value, config.RAISE)
    except (ValueError, TypeError):
        return False
    return True
