"""Masks written on exactly their source's grid."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image
from numpy.typing import NDArray

from ...core.errors import DelineateError
from ...core.files import write_atomically
from .formats import refusing, volume_suffix
from .itk import LPS
from .nifti import read_nifti_header
from .volume import Volume

WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")
_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)  # of a NIfTI header; names, comments and extensions may tell the patient's name


def write_volume(path: str | Path, mask: NDArray[Any], like: Volume) -> Path:
    """Write a mask, or probabilities, that lie where their source lies; the file is whole or not there.

    NIfTI from NIfTI has the source's sform, qform, codes and units to the bit. Other NIfTI has the affine, rounded to
    float32, as scanner coordinates. Nothing else of the source's header is taken over.

    Args:
        path: ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``; its folder exists.
        mask: (I, J, K) uint8, boolean or float32.
        like: what was segmented; a NIfTI source must still be there.

    Returns:
        ``path``.

    Raises:
        DelineateError: the name has another ending, or the mask another shape.
        InputError: the source's header can no longer be read.
        ValueError: the mask has another type.
    """
    path, shape = Path(path), like.voxels.shape[:3]
    suffix = volume_suffix(path)
    if suffix not in WRITABLE:
        raise DelineateError(f"{path}: masks of volumes are not written as that; name it {', '.join(WRITABLE)}")
    if mask.dtype not in (np.uint8, np.bool_, np.float32):
        raise ValueError(f"masks are uint8, boolean or float32, not {mask.dtype}")
    if mask.shape != shape:
        raise DelineateError(f"{path}: a mask of shape {mask.shape} does not fit {like.source} of shape {shape}")
    mask = mask.astype(np.uint8) if mask.dtype == np.bool_ else mask
    data = _nifti(mask, like).to_bytes() if suffix.startswith(".nii") else _itk(mask, like, suffix)
    write_atomically(path, gzip.compress(data, mtime=0) if suffix == ".nii.gz" else data)
    return path


def _nifti(mask: NDArray[Any], like: Volume) -> Nifti1Image:
    if not (volume_suffix(like.source) or "").startswith(".nii"):
        return _nifti_of_affine(mask, like.affine)
    with refusing(like.source):
        source = read_nifti_header(like.source)
    second = isinstance(source, Nifti2Header)
    header = Nifti2Header() if second else Nifti1Header()
    for field in _GEOMETRY:
        header[field] = source[field]
    header.set_data_dtype(mask.dtype)
    return (Nifti2Image if second else Nifti1Image)(mask, None, header)


def _nifti_of_affine(mask: NDArray[Any], affine: NDArray[np.float64]) -> Nifti1Image:
    image = Nifti1Image(mask, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if not np.allclose(image.get_qform(), affine, atol=1e-3):
        image.set_qform(None, code=0)  # sheared, which only an sform can say
    return image


def _itk(mask: NDArray[Any], like: Volume, suffix: str) -> bytes:
    import SimpleITK as sitk

    steps = LPS @ like.affine
    sides = np.linalg.norm(steps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(mask.transpose(2, 1, 0))
    image.SetSpacing(sides.tolist())
    image.SetOrigin(steps[:3, 3].tolist())
    image.SetDirection((steps[:3, :3] / sides).ravel().tolist())
    with TemporaryDirectory() as folder:  # SimpleITK writes by a name's ending
        file = Path(folder) / f"mask{suffix}"
        sitk.WriteImage(image, str(file), useCompression=True)
        return file.read_bytes()
