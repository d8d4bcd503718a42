"""Structured report: what each segment of the SEG that is written with it measures. PS3.16, TID 1500."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ..axes import long_and_short_axis
from ..dicom.header import MANUFACTURER
from . import seg
from .identity import RESEARCH, code_of, equipment, finish, numbers, schemes_of
from .outlined import Outlined
from .sources import Sources, read_sources

_PIXELS, _VOXELS = Code("{pixels}", "UCUM", "pixels"), Code("{voxels}", "UCUM", "voxels")
_MILLILITRES = Code("ml", "UCUM", "milliliter")


def build(result: Outlined) -> hd.sr.Comprehensive3DSR | hd.sr.ComprehensiveSR:
    """A report with a group of measurements a structure, which names the structure's segment."""
    sources, segmentation = read_sources(result.frames), seg.build(result)
    kind = hd.sr.Comprehensive3DSR if len(result.frames) > 1 else hd.sr.ComprehensiveSR
    report = kind(
        evidence=[segmentation, *_images(sources)],
        content=_content(result, sources, segmentation),
        coding_schemes=schemes_of(result),
        **numbers(result, sources, "sr"),
        **equipment(result),
    )
    _name_once(report, "ReferencedFrameNumber" if result.seg_type == "labelmap" else "ReferencedSegmentNumber")
    finish(report, sources)
    report.pop("PatientOrientation", None)
    return report


def _content(result: Outlined, sources: Sources, segmentation: Dataset) -> Dataset:
    model = result.model
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=result.uid("device"), name=model.name, manufacturer_name=MANUFACTURER, model_name=model.name
    )
    observer = hd.sr.ObserverContext(codes.DCM.Device, device)
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=Code("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[_group(result, sources, segmentation, index) for index in range(len(result.structures))],
    )
    return cast(Dataset, report[0])


def _group(result: Outlined, sources: Sources, segmentation: Dataset, index: int) -> Dataset:
    """The measurements of a structure."""
    described = next(one for one in segmentation.SegmentSequence if one.SegmentNumber == index + 1)
    facts: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(described.TrackingUID, described.TrackingID),
        "finding_type": code_of(result.structures[index]),
        "algorithm_id": hd.sr.AlgorithmIdentification(
            result.model.name,
            result.model.version,
            parameters=[RESEARCH, *(f"{name}: {value}" for name, value in result.model.parameters().items())],
        ),
        "measurements": _measurements(result, index),
    }
    names = (segmentation.SOPClassUID, segmentation.SOPInstanceUID)
    images = [
        hd.sr.SourceImageForSegmentation(image.SOPClassUID, image.SOPInstanceUID, _frame_numbers(image))
        for image in _images(sources)
    ]
    if len(result.frames) > 1:
        segment = hd.sr.ReferencedSegment(*names, index + 1, source_images=images)
        volume = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **facts)
        return cast(Dataset, volume)
    frame = 1 if result.seg_type == "labelmap" else index + 1
    segment = hd.sr.ReferencedSegmentationFrame(*names, frame, index + 1, images[0])
    return cast(Dataset, hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **facts))


def _measurements(result: Outlined, index: int) -> list[hd.sr.Measurement]:
    """Area or volume; where there is something, its axes, of a series in the frame where most of it is."""
    mask, spacing = result.masks[index], result.spacing
    count = int(mask.sum())
    if len(mask) == 1:
        plane = spacing and spacing[-2:]
        area = (count * float(np.prod(plane)), codes.UCUM.SquareMillimeter) if plane else (count, _PIXELS)
        found = [hd.sr.Measurement(codes.SCT.Area, *area)]
    else:
        volume = (count * float(np.prod(spacing)) / 1000, _MILLILITRES) if spacing else (count, _VOXELS)
        found = [hd.sr.Measurement(codes.SCT.Volume, *volume)]
    if not count:
        return found
    largest: NDArray[np.uint8] = mask[int(mask.sum(axis=(1, 2)).argmax())]
    unit = codes.UCUM.Millimeter if spacing else _PIXELS
    lengths = long_and_short_axis(largest, (spacing[-2], spacing[-1]) if spacing else (1.0, 1.0))
    names = (codes.SCT.LongAxis, codes.SCT.ShortAxis)
    return found + [hd.sr.Measurement(name, length, unit) for name, length in zip(names, lengths, strict=True)]


def _name_once(dataset: Dataset, spare: str) -> None:
    """Leave out what a reference to a frame and a segment says twice: the standard allows one (PS3.3 C.18.4.1)."""
    for element in dataset:
        for item in element.value if element.VR == "SQ" else ():
            if {"ReferencedFrameNumber", "ReferencedSegmentNumber"} <= set(item.dir("Referenced")):
                del item[spare]
            _name_once(item, spare)


def _frame_numbers(image: Dataset) -> list[int] | None:
    """As ReferencedFrameNumber has them."""
    found = image.get("ReferencedFrameNumber")
    return None if found is None else [int(one) for one in np.atleast_1d(found)]


def _images(sources: Sources) -> list[Dataset]:
    """The images of the source, each once, as a report names them."""
    once: dict[str, Dataset] = {}
    frames: dict[str, list[int]] = {}
    for header in sources.headers:
        reference = sources.references[str(header.SOPInstanceUID)]
        image = once.setdefault(reference.sop_uid, Dataset())
        if "SOPInstanceUID" not in image:
            image.update(deepcopy(header))
            image.SOPClassUID, image.SOPInstanceUID = reference.sop_class, reference.sop_uid
        if reference.frame is not None:
            frames.setdefault(reference.sop_uid, []).append(reference.frame)
    for name, numbers_there in frames.items():
        once[name].ReferencedFrameNumber = sorted(numbers_there)
    return list(once.values())
