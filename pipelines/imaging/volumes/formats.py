"""Volumes from files: NIfTI, MetaImage and NRRD, refused by name where they are broken, hostile or beyond use."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...core.errors import DelineateError, InputError, permission_denied
from ...core.files import refuse_irregular
from .grids import Grid
from .planes import Affine, orientation
from .volume import Volume

logger = logging.getLogger(__name__)
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
"""Compare in lower case, as `volume_suffix` does."""


def volume_suffix(path: str | Path) -> str | None:
    """The suffix of a volume's file, in lower case; ``None`` for other files."""
    name = Path(path).name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def read_header_shape(path: str | Path) -> tuple[int, ...]:
    """The shape of a volume, (I, J, K) or (I, J, K, C), without decoding it; as `read_grid`."""
    return read_grid(path).shape


def read_grid(path: str | Path) -> Grid:
    """Shape and affine of a volume, without decoding it.

    Raises:
        InputError: as `read_volume`, as far as the header tells.
    """
    from .itk import read_itk_grid
    from .nifti import read_nifti_grid

    path = Path(path)
    is_nifti = _is_nifti(path)
    with refusing(path):
        grid = read_nifti_grid(path) if is_nifti else read_itk_grid(path)
        _refuse_affine(path, grid.affine)
    return grid


def read_volume(path: str | Path) -> Volume:
    """Decode a volume.

    Integers stay as they are; other numbers, and what NIfTI scales, become float32; NaN is kept. RGB of NIfTI becomes
    three channels, which ask for the window 0-255. A time series or several components become channels. Two-dimensional
    files have one slice.

    The position in the patient is that of the sform, or else the qform; where they differ by more than 1 mm, or a file
    has no orientation at all, that is logged.

    Args:
        path: a file with one of `VOLUME_SUFFIXES`.

    Raises:
        InputError: the file is missing, broken (its checksum is wrong, or it holds less or more than its header
            declares), too large (see `grids`), names data outside its folder, has complex numbers, more than four axes,
            no finite value, or an affine whose axes are not clear.
    """
    from .itk import read_itk
    from .nifti import read_nifti

    path = Path(path)
    is_nifti = _is_nifti(path)
    with refusing(path):
        volume = read_nifti(path) if is_nifti else read_itk(path)
        _refuse_affine(path, volume.affine)
        _note_not_finite(volume)
    return volume


def volume_files(path: Path) -> tuple[Path, ...]:
    """The file and, where it is the header of a MetaImage or NRRD that keeps its voxels elsewhere, theirs."""
    from .itk import voxel_file

    suffix = volume_suffix(path)
    if suffix is None or suffix.startswith(".nii"):
        return (path,)
    try:
        data = voxel_file(path)
    except InputError:  # whoever reads it says why
        return (path,)
    return (path,) if data == path else (path, data)


def _is_nifti(path: Path) -> bool:
    suffix = volume_suffix(path)
    if suffix is None:
        raise InputError(path, "is no volume by its name", f"name a file that ends in {', '.join(VOLUME_SUFFIXES)}")
    return suffix.startswith(".nii")


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What the libraries say of a file is its refusal.

    Raises:
        InputError: whatever they raised.
    """
    try:
        refuse_irregular(path)
        yield
    except InputError:
        raise
    except PermissionError as error:  # of the voxels beside a header
        raise permission_denied(error.filename or path) from error
    except Exception as error:  # nibabel, gzip, zlib: OSError, EOFError, ValueError, RuntimeError, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise InputError(path, f"cannot be read ({reason})", "copy or download it again") from error


def _refuse_affine(path: Path, affine: Affine) -> None:
    try:
        orientation(affine)
    except DelineateError as error:
        raise InputError(path, str(error), "correct it, or resample along the patient's axes") from error


def _note_not_finite(volume: Volume) -> None:
    voxels = volume.voxels
    if voxels.dtype.kind != "f":
        return
    finite = sum(int(np.isfinite(voxels[:, :, index]).sum()) for index in range(voxels.shape[2]))
    if not finite:
        raise InputError(volume.source, "has no finite value", "save it again from its source")
    if finite < voxels.size:
        others = f"{voxels.size - finite} of its {voxels.size} values are no finite numbers"
        logger.warning(f"{volume.source}: {others}; NaN is shown black")
