"""DICOM files as scanners and workstations write them, but tiny."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage, generate_uid

LPS = np.array([-1, -1, 1])


def element(**attributes: Any) -> Dataset:
    """A data set of these attributes."""
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def write_image(path: Path, values: np.ndarray, **attributes: Any) -> Path:
    """A grey image, (R, C), or one of several frames, (F, R, C); 8 bits, or 16 signed."""
    frames = values[None] if values.ndim == 2 else values
    bits = 8 * values.itemsize
    dataset = element(
        SOPClassUID=CTImageStorage,
        SOPInstanceUID=generate_uid(),
        PatientID="patient",
        Modality="CT",
        **({"NumberOfFrames": len(frames)} if len(frames) > 1 else {}),
        Rows=frames.shape[1],
        Columns=frames.shape[2],
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(values.dtype.kind == "i"),
        PixelData=values.tobytes() + b"\0" * (values.nbytes % 2),
    )
    dataset.update(element(**attributes))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated == 16 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path, voxels: np.ndarray, affine: np.ndarray, names: Sequence[str] = (), **attributes: Any
) -> list[str]:
    """A volume of HU, (I, J, K) in RAS+, as one file a slice K; returns their SOP Instance UIDs."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    along = (affine[:3, :3] / sides * LPS[:, None]).T
    common = {
        "SeriesInstanceUID": generate_uid(),
        "ImageOrientationPatient": [f"{number:.10g}" for number in (*along[0], *along[1])],
        "PixelSpacing": [f"{side:.10g}" for side in (sides[1], sides[0])],
        "RescaleSlope": "1",
        "RescaleIntercept": "-1000",
    }
    uids = [generate_uid() for _ in range(voxels.shape[2])]
    for index, uid in enumerate(uids):
        place = LPS * (affine @ [0, 0, index, 1])[:3]
        stored = np.ascontiguousarray(voxels[:, :, index].T.astype(np.int16) + 1000, np.int16)
        facts = {**common, "SOPInstanceUID": uid, "ImagePositionPatient": [f"{number:.10g}" for number in place]}
        write_image(folder / (names[index] if names else f"{index}.dcm"), stored, **(facts | attributes))
    return uids


def write_seg(path: Path, masks: np.ndarray, sources: Sequence[tuple[int, str, int | None]]) -> Path:
    """A SEG of masks, (F, R, C); of each its segment, and the image and frame (from 1) that it was drawn on."""
    groups = []
    for segment, uid, number in sources:
        numbered = {} if number is None else {"ReferencedFrameNumber": number}
        source = element(ReferencedSOPInstanceUID=uid, SpatialLocationsPreserved="YES", **numbered)
        groups.append(
            element(
                DerivationImageSequence=[element(SourceImageSequence=[source])],
                SegmentIdentificationSequence=[element(ReferencedSegmentNumber=segment)],
            )
        )
    packed = np.packbits(masks.ravel(), bitorder="little").tobytes()
    return write_image(
        path,
        masks.astype(np.uint8),
        SOPClassUID=SegmentationStorage,
        SegmentationType="BINARY",
        SegmentSequence=[element(SegmentNumber=number) for number in sorted({one[0] for one in sources})],
        PerFrameFunctionalGroupsSequence=groups,
        **{"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": packed + b"\0" * (len(packed) % 2)},
    )
