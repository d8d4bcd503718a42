"""DICOM Segmentation: a segment a structure, a frame a frame of the source. PS3.3 A.51."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from ..structures import Structure, colours_of, join_labels
from .identity import RESEARCH, algorithm, code_of, coded, equipment, finish, numbers, schemes_of
from .outlined import Outlined
from .sources import Sources, read_sources, refer

_ABNORMAL = ("lesion", "mass", "tumor", "tumour", "neoplasm", "polyp", "nodule", "cyst", "carcinoma", "melanoma")
_IN_STACK, _FRAME_CONTENT, _STACK = 0x00209057, 0x00209111, "1"


def build(result: Outlined) -> hd.seg.Segmentation:
    """A Segmentation, or Label Map Segmentation, of all structures."""
    sources = read_sources(result.frames)
    pixels = _pixels(result)
    uids = numbers(result, sources, "seg")
    shown = slice(None) if sources.lie else slice(1)  # without a frame of reference highdicom takes one frame
    segmentation = hd.seg.Segmentation(
        source_images=sources.headers[shown],
        pixel_array=pixels[shown],
        segmentation_type=result.seg_type.upper(),
        segment_descriptions=_segments(result, sources, uids["sop_instance_uid"]),
        omit_empty_frames=False,
        content_label="SEGMENTATION",
        content_description=RESEARCH,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        coding_schemes=schemes_of(result),
        **uids,
        **equipment(result),
    )
    segmentation.ContentCreatorName = None
    if not sources.lie and len(sources.headers) > 1:
        _add_frames(segmentation, pixels, sources)
    organization = result.uid(uids["sop_instance_uid"], "dimensions")
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    segmentation.ReferencedSeriesSequence = deepcopy(segmentation.ReferencedSeriesSequence)  # shares its items
    refer(segmentation, sources.references)
    finish(segmentation, sources)
    return segmentation


def _pixels(result: Outlined) -> NDArray[Any]:
    """(F, R, C, S); of a label map (F, R, C)."""
    if result.seg_type == "labelmap":
        names = [one.name for one in result.structures]
        return join_labels(result.source, dict(zip(names, result.masks, strict=True)))
    values = result.probabilities if result.seg_type == "fractional" else result.masks
    return np.moveaxis(values, 0, -1)


def _segments(result: Outlined, sources: Sources, uid: str) -> list[hd.seg.SegmentDescription]:
    taken = _region(sources.headers[0])
    return [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=(structure.name or "foreground")[:64],
            segmented_property_category=_category(structure),
            segmented_property_type=code_of(structure),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm(result),
            tracking_uid=result.uid(uid, "segment", number),
            tracking_id=(structure.name or "foreground")[:64],
            anatomic_regions=[coded(structure.region)] if structure.region else taken,
            display_color=hd.color.CIELabColor.from_rgb(*colour),
        )
        for number, (structure, colour) in enumerate(
            zip(result.structures, colours_of(result.structures), strict=True), start=1
        )
    ]


def _category(structure: Structure) -> Code:
    if structure.category:
        return coded(structure.category)
    words = f"{structure.name} {code_of(structure).meaning}".lower()
    abnormal = any(word in words for word in _ABNORMAL)
    found = codes.CID7150.MorphologicallyAbnormalStructure if abnormal else codes.CID7150.AnatomicalStructure
    return cast("Code", found)


def _region(header: Dataset) -> list[Any] | None:
    """Where the source was taken: as it says itself, else its body part where that is one of PS3.16, CID 4."""
    if sequence := header.get("AnatomicRegionSequence"):
        item = sequence[0]
        if item.get("CodeValue") and item.get("CodingSchemeDesignator") and item.get("CodeMeaning"):
            return [Code(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)]
    part = str(header.get("BodyPartExamined") or "").title().replace(" ", "")
    return [getattr(codes.CID4, part)] if part.isidentifier() and part in dir(codes.CID4) else None


def _add_frames(segmentation: hd.seg.Segmentation, pixels: NDArray[Any], sources: Sources) -> None:
    """Write all frames into the object of the first, in the order of a stack, which is not that of places.

    highdicom takes one frame where there is no frame of reference: of films, and of series that do not say where they
    lie. The dimension is the position in the stack; a number of a source's frame is none (PS3.3 C.7.6.17.1).
    """
    template = segmentation.PerFrameFunctionalGroupsSequence
    items = []
    for group in template:
        for number, made_up in enumerate(sources.references, start=1):
            item = deepcopy(group)
            content = item.FrameContentSequence[0]
            content.pop("FrameLabel", None)
            content.StackID, content.InStackPositionNumber = _STACK, number
            segment = list(np.atleast_1d(content.DimensionIndexValues))[:1] if _has_segments(segmentation) else []
            content.DimensionIndexValues = [*map(int, segment), number]
            item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = made_up
            items.append(item)
    segmentation.PerFrameFunctionalGroupsSequence = items
    segmentation.NumberOfFrames = len(items)
    _add_dimension(segmentation)
    _add_references(segmentation, sources)
    stacked = pixels if pixels.ndim == 3 else np.moveaxis(pixels, -1, 0)
    segmentation.PixelData = _encoded(segmentation, stacked)


def _has_segments(segmentation: hd.seg.Segmentation) -> bool:
    return bool(segmentation.SegmentationType != "LABELMAP")


def _add_dimension(segmentation: hd.seg.Segmentation) -> None:
    index = Dataset()
    index.DimensionIndexPointer, index.FunctionalGroupPointer = _IN_STACK, _FRAME_CONTENT
    index.DimensionDescriptionLabel = "In-Stack Position Number"
    before = list(segmentation.DimensionIndexSequence) if _has_segments(segmentation) else []
    index.DimensionOrganizationUID = segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID
    segmentation.DimensionIndexSequence = [*before, index]


def _add_references(segmentation: hd.seg.Segmentation, sources: Sources) -> None:
    first = segmentation.SourceImageSequence[0]
    named = []
    for made_up in sources.references:
        item = deepcopy(first)
        item.ReferencedSOPInstanceUID = made_up
        named.append(item)
    segmentation.SourceImageSequence = named
    segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence = deepcopy(named)


def _encoded(segmentation: hd.seg.Segmentation, stacked: NDArray[Any]) -> bytes:
    if segmentation.SegmentationType == "BINARY":
        return pack_bits(stacked.astype(np.uint8).ravel(), pad=True)
    if segmentation.SegmentationType == "FRACTIONAL":
        stacked = np.around(stacked * float(segmentation.MaximumFractionalValue)).astype(np.uint8)
    data = stacked.astype(np.uint8).tobytes()
    return data + b"\0" * (len(data) % 2)
