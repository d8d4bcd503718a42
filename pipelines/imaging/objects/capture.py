"""Secondary capture: the image with its outlines, as any viewer shows it. PS3.3 A.8.1."""

from __future__ import annotations

from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from ..overlay import add_caption
from .identity import RESEARCH, equipment, finish, numbers
from .outlined import Outlined
from .sources import read_sources, refer

_COPIED = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod", "BurnedInAnnotation")
_TOWARDS = (("L", "R"), ("P", "A"), ("H", "F"))  # LPS+


def build(result: Outlined) -> hd.sc.SCImage:
    """A colour image, with words above it that say what it is for."""
    sources = read_sources(result.frames)
    picture = result.picture()
    shown = [sources.headers[index] for index in picture.frames]
    header, pixels = shown[0], add_caption(picture.pixels, f"{RESEARCH.upper()} - {result.model.name}")
    laterality = header.get("ImageLaterality") or header.get("Laterality")
    capture = hd.sc.SCImage.from_ref_dataset(
        header,
        pixel_array=np.ascontiguousarray(pixels),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # it insists; the true one, or none, follows
        laterality=laterality if laterality in ("L", "R") else None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **numbers(result, sources, "sc"),
        **equipment(result),
    )
    capture.copy_patient_and_study_information(header)
    if "Laterality" not in capture:
        capture.Laterality = None
    capture.ConversionType = "WSD"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.DerivationDescription = f"Outlines drawn in by {result.model.name}. {RESEARCH}."
    capture.SourceImageSequence = [_source(one) for one in shown]
    for keyword in _COPIED:
        capture.pop(keyword, None)
        if keyword in header:
            capture[keyword] = header[keyword]
    refer(capture, sources.references)
    finish(capture, sources)
    capture.PatientOrientation = list(picture.orientation) or _orientation(header)
    return capture


def _source(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [
        hd.sr.CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    ]
    return item


def _orientation(header: Dataset) -> Any:
    """As the source says, or as it lies; empty where it does neither."""
    if told := header.get("PatientOrientation"):
        return told
    cosines = header.get("ImageOrientationPatient")
    if not cosines or "FrameOfReferenceUID" not in header:
        return None
    rows = np.reshape([float(number) for number in cosines], (2, 3))
    return [_TOWARDS[axis][int(row[axis] < 0)] for row in rows for axis in [int(np.abs(row).argmax())]]
