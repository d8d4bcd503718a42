"""NIfTI-1 and NIfTI-2 in one file; headers by nibabel.

Extensions of the header are passed over: nibabel would parse DICOM inside them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import isfinite, isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from ...core.errors import InputError
from .grids import Grid, plain, voxel_shape
from .planes import largest_shift
from .streams import DAMAGED, Place, open_place, read_values, refuse_other_size
from .volume import Volume
from .windows import Window

logger = logging.getLogger(__name__)
_HEADERS = {348: Nifti1Header, 540: Nifti2Header}
_MOST_BEFORE_DATA = 2**24  # bytes of extensions that are skipped, inflating them
_APART = 1.0  # mm between sform and qform, from where on that is said
_MM = {"meter": 1000.0, "micron": 0.001}


class _Voxels(NamedTuple):
    """What a header says of its voxels."""

    shape: tuple[int, ...]
    kind: np.dtype[Any]  # of a value, in the file's byte order
    colours: int  # values that are stored together
    place: Place


def read_nifti_grid(path: Path) -> Grid:
    """Shape and affine; see `formats.read_grid`."""
    header = read_nifti_header(path)
    return Grid(_voxels(path, header).shape, _affine(header))


def read_nifti(path: Path) -> Volume:
    """Voxels, scaled as the header says; see `formats.read_volume`."""
    header = read_nifti_header(path)
    shape, kind, colours, place = _voxels(path, header)
    _note_orientation(path, header, shape)
    values = read_values(path, place, kind, _scaling(path, header))
    voxels = np.moveaxis(values.reshape(colours, *shape[:3], -1, order="F"), 0, -1)
    return Volume(path, voxels.reshape(shape), _affine(header), Window(0, 255) if colours > 1 else None)


def read_nifti_header(path: Path) -> Nifti1Header:
    """The header alone, checked and corrected as nibabel does; what is corrected is logged.

    Raises:
        InputError: it is no header of a single-file NIfTI.
    """
    block = _beginning(path)
    claimed = int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")
    size = next((size for size in _HEADERS if size in claimed), 0)
    if not 0 < size <= len(block):
        raise InputError(path, "is no NIfTI file", "convert it to NIfTI")
    header = _HEADERS[size](block[:size], check=False)
    kind = header.get_data_dtype()
    if header["bitpix"] != 8 * kind.itemsize:
        raise InputError(path, f"says that its values, {kind}, have {header['bitpix']} bits", DAMAGED)
    header.check_fix(logger=logger)
    offset = float(header["vox_offset"])
    if not (size + 4 <= offset <= _MOST_BEFORE_DATA and offset.is_integer()):
        raise InputError(path, f"has its voxels at byte {offset:g}", "save it as one NIfTI file again")
    return header


def _beginning(path: Path) -> bytes:
    """The bytes that may be the header, unpacked."""
    packed = _is_packed(path)
    with path.open("rb") as file:
        block = file.read(max(_HEADERS))
    if packed != (block[:2] == b"\x1f\x8b"):
        reason, name = ("is not packed by gzip", ".nii") if packed else ("is packed by gzip", ".nii.gz")
        raise InputError(path, f"{reason}, which its name does not say", f"let its name end in {name}")
    if not packed:
        return block
    with open_place(Place(path, 0, 0, 0, "gzip")) as stream:
        return stream.read(max(_HEADERS))


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _voxels(path: Path, header: Nifti1Header) -> _Voxels:
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" and dtype.names != ("R", "G", "B"):
        kind = f"colours {''.join(dtype.names)}" if dtype.names else "complex numbers" if dtype.kind == "c" else dtype
        raise InputError(path, f"has {kind}", "save real numbers, or RGB")
    colours = 3 if dtype.names else 1
    single = np.dtype(np.uint8) if dtype.names else dtype
    shape = voxel_shape(path, header.get_data_shape(), colours, single.itemsize)
    offset, size = int(header["vox_offset"]), int(np.prod(shape, dtype=np.int64)) * single.itemsize
    place = Place(path, 0, offset, size, "gzip") if _is_packed(path) else Place(path, offset, 0, size)
    refuse_other_size(path, place)
    _scaling(path, header)
    return _Voxels(shape, single, colours, place)


def _scaling(path: Path, header: Nifti1Header) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Stored values to real ones; a slope of 0, and nibabel's NaN, mean that there is no scaling."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    unset = slope == 0 or (isnan(slope) and (isnan(inter) or inter == 0))
    if unset or header.get_data_dtype().names or (slope, inter) == (1, 0):
        return plain
    if not (isfinite(slope) and isfinite(inter)):
        raise InputError(path, f"scales its values by {slope:g} and {inter:g}", f"{DAMAGED}, or correct scl_slope")

    def scaled(values: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            return (values * np.float64(slope) + np.float64(inter)).astype(np.float32)

    return scaled


def _affine(header: Nifti1Header) -> NDArray[np.float64]:
    """(4, 4), to mm in RAS+."""
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:  # a code that means nothing
        unit = "unknown"
    return np.asarray(np.diag([*[_MM.get(unit, 1.0)] * 3, 1.0]) @ header.get_best_affine())


def _note_orientation(path: Path, header: Nifti1Header, shape: tuple[int, ...]) -> None:
    """Say so where the position in the patient is unknown, or given in two ways."""
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        logger.warning(f"{path}: has no orientation (sform and qform codes are 0); taken as left-anterior-superior")
    elif sform is not None and qform is not None and (shift := largest_shift(shape, sform, qform)) > _APART:
        logger.warning(f"{path}: sform and qform are up to {shift:.4g} mm apart; the sform is taken")
