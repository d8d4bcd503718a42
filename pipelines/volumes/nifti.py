"""NIfTI-1 and NIfTI-2 in one file, by nibabel.

Extensions of the header are passed over: nibabel would parse DICOM inside them.
"""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from ..errors import InputError
from .grids import Grid, plain, voxel_shape
from .planes import largest_shift
from .volume import Volume
from .windows import Window

logger = logging.getLogger(__name__)
_HEADERS = {348: Nifti1Header, 540: Nifti2Header}
_MOST_BEFORE_DATA = 2**24  # bytes of extensions that are skipped, inflating them
_APART = 1.0  # mm between sform and qform, from where on that is said


def read_nifti_grid(path: Path) -> Grid:
    """Shape and affine; see `formats.read_grid`."""
    header = read_nifti_header(path)
    return Grid(_shape(path, header), header.get_best_affine())


def read_nifti(path: Path) -> Volume:
    """Voxels, scaled as the header says; see `formats.read_volume`."""
    header = read_nifti_header(path)
    shape = _shape(path, header)
    _tell_orientation(path, header, shape)
    colours = header.get_data_dtype().names
    with _open(path) as file:
        data = ArrayProxy(file, header, mmap=False)
        as_stored = colours or (data.slope, data.inter) == (1, 0)
        values: NDArray[Any] = data.get_unscaled() if as_stored else np.asarray(data, np.float32)
        if file.read(1):  # to the end, where gzip has its checksum
            logger.warning(f"{path}: holds more data than its header declares; the rest is left out")
    voxels = np.stack([values[colour] for colour in colours], axis=-1) if colours else plain(values)
    return Volume(path, voxels.reshape(shape), header.get_best_affine(), Window(0, 255) if colours else None)


def read_nifti_header(path: Path) -> Nifti1Header:
    """The header alone, checked and mended as nibabel does; what is mended is logged.

    Raises:
        InputError: it is no header of a single-file NIfTI.
    """
    with _open(path) as file:
        block = file.read(max(_HEADERS))
    claimed = int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")
    size = next((size for size in _HEADERS if size in claimed), 0)
    if not 0 < size <= len(block):
        raise InputError(path, "is no NIfTI file (or compressed, and its name does not say so)", "convert it to NIfTI")
    header = _HEADERS[size](block[:size], check=False)
    header.check_fix(logger=logger)
    offset = float(header["vox_offset"])
    if not size + 4 <= offset <= _MOST_BEFORE_DATA:
        raise InputError(path, f"has its voxels at byte {offset:g}", "save it as one NIfTI file again")
    return header


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def _shape(path: Path, header: Nifti1Header) -> tuple[int, ...]:
    dtype = header.get_data_dtype()
    if dtype.kind == "c" or dtype.names not in (None, ("R", "G", "B")):
        kind = f"colours {''.join(dtype.names)}" if dtype.names else "complex numbers"
        raise InputError(path, f"has {kind}", "save real numbers, or RGB")
    return voxel_shape(path, header.get_data_shape(), 3 if dtype.names else 1)


def _tell_orientation(path: Path, header: Nifti1Header, shape: tuple[int, ...]) -> None:
    """Say so where the position in the patient is unknown, or told in two ways."""
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        logger.warning(f"{path}: has no orientation (sform and qform codes are 0); taken as left-anterior-superior")
    elif sform is not None and qform is not None and (shift := largest_shift(shape, sform, qform)) > _APART:
        logger.warning(f"{path}: sform and qform are up to {shift:.4g} mm apart; the sform is taken")
