"""DICOM files, read with pydicom in numpy order: rows, columns."""

from .geometry import Plane, SpacingKind
from .header import read_header
from .image import DicomImage, read_dicom
from .parsing import is_dicom
from .segmentation import is_seg, read_seg_mask, seg_references
from .series import Series, find_series
from .stack import read_series, volume_frames

__all__ = [
    "DicomImage",
    "Plane",
    "Series",
    "SpacingKind",
    "find_series",
    "is_dicom",
    "is_seg",
    "read_dicom",
    "read_header",
    "read_seg_mask",
    "read_series",
    "seg_references",
    "volume_frames",
]
