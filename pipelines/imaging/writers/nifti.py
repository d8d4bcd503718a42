"""NIfTI. https://nifti.nimh.nih.gov"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image
from numpy.typing import NDArray

from ...core.files import write_atomically
from ..volumes.formats import refusing, volume_suffix
from ..volumes.nifti import read_nifti_header
from ..volumes.volume import Volume
from .mark import KEY, mark_of

FOREGROUND = 1
_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)  # of a NIfTI header; names, comments and extensions may tell the patient's name


def write(path: Path, pixels: NDArray[Any], like: Volume | None) -> None:
    """Write voxels; those of a NIfTI source get its sform, qform, codes and units to the bit.

    Those of another source get the affine, rounded to float32, as scanner coordinates. Nothing else of a source's
    header is taken over.
    """
    assert like is not None
    image = _image(pixels, like)
    if pixels.dtype == np.uint8:
        image.header["descrip"] = f"{KEY}:{mark_of(pixels)}"
    data = image.to_bytes()
    write_atomically(path, gzip.compress(data, mtime=0) if path.name.lower().endswith(".gz") else data)


def _image(pixels: NDArray[Any], like: Volume) -> Nifti1Image:
    if not (volume_suffix(like.source) or "").startswith(".nii"):
        return _of_affine(pixels, like.affine)
    with refusing(like.source):
        source = read_nifti_header(like.source)
    second = isinstance(source, Nifti2Header)
    header = Nifti2Header() if second else Nifti1Header()
    for field in _GEOMETRY:
        header[field] = source[field]
    header.set_data_dtype(pixels.dtype)
    return (Nifti2Image if second else Nifti1Image)(pixels, None, header)


def _of_affine(pixels: NDArray[Any], affine: NDArray[np.float64]) -> Nifti1Image:
    image = Nifti1Image(pixels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if not np.allclose(image.get_qform(), affine, atol=1e-3):
        image.set_qform(None, code=0)  # sheared, which only an sform can say
    return image
