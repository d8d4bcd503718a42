"""MetaImage (MHA, MHD) and NRRD.

Headers are judged here, and voxels read. Where they lie SimpleITK says, in a process of its own, because a header can
crash it; it is shown the few fields that it needs. Its LPS+ is turned into RAS+.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.child import Child, ChildError
from ...core.errors import InputError
from .grids import Grid, plain, voxel_shape
from .headers import Header
from .metaimage import read_meta_header
from .nrrd import read_nrrd_header
from .streams import DAMAGED, read_values, refuse_other_size
from .volume import Volume

logger = logging.getLogger(__name__)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From LPS+ to RAS+, and back."""

_SIMPLEITK = Child(Path(__file__).with_name("itk_apart.py"), memory=2**31)


def read_itk_grid(path: Path) -> Grid:
    """Shape and affine; see `formats.read_grid`."""
    return _judged(path)[1]


def read_itk(path: Path) -> Volume:
    """Voxels; see `formats.read_volume`."""
    header, grid = _judged(path)
    if not header.has_space:
        logger.warning(f"{path}: has no orientation (no space); taken as left-posterior-superior")
    values = read_values(path, header.place, header.kind, plain).reshape(header.sizes, order="F")
    if header.channels is not None:
        values = np.moveaxis(values, header.channels, -1)
    return Volume(path, values.reshape(grid.shape), grid.affine)


def voxel_file(path: Path) -> Path:
    """The file that holds the voxels, which may be the header's own.

    Raises:
        InputError: the header is broken, or the file is not there.
    """
    return _header(path).place.file


def _header(path: Path) -> Header:
    return read_meta_header(path) if _is_meta(path) else read_nrrd_header(path)


def _is_meta(path: Path) -> bool:
    return path.suffix.lower() in {".mha", ".mhd"}


def _judged(path: Path) -> tuple[Header, Grid]:
    """What the header declares, and where that lies."""
    header = _header(path)
    shape = voxel_shape(path, header.spatial, header.values, header.kind.itemsize)
    refuse_other_size(path, header.place)
    return header, Grid(
        shape, _affine(path, header, *(("MetaImageIO", ".mha") if _is_meta(path) else ("NrrdImageIO", ".nrrd")))
    )


def _affine(path: Path, header: Header, reader: str, suffix: str) -> NDArray[np.float64]:
    """(4, 4), to mm in RAS+; axes beyond the third have no place in it."""
    facts = _facts(path, header.text, reader, suffix)
    if (tuple(facts["size"]), facts["components"]) != (header.spatial, header.values):
        found = f"{facts['size']} voxels of {facts['components']} values"
        raise InputError(path, f"is ambiguous: SimpleITK sees {found} in it", "save it again, with plain axes")
    axes = len(header.spatial)
    steps = np.array(facts["direction"]).reshape(axes, axes) * facts["spacing"]
    if steps[:3, 3:].any():
        raise InputError(path, "has channels that lie in different places", "save each as a volume of its own")
    affine = np.eye(4)
    affine[: min(axes, 3), : min(axes, 3)] = steps[:3, :3]
    affine[: min(axes, 3), 3] = facts["origin"][:3]
    return LPS @ affine


def _facts(path: Path, text: str, reader: str, suffix: str) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"header{suffix}"
        file.write_text(text, encoding="ascii")
        try:
            answer = _SIMPLEITK.ask(json.dumps({"file": str(file), "reader": reader}).encode())
        except ChildError as error:
            raise InputError(path, f"has a header that SimpleITK can't read ({error})", DAMAGED) from error
    facts: dict[str, Any] = json.loads(answer)
    return facts
