"""NRRD and MetaImage, by SimpleITK."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.files import write_atomically
from ..volumes.itk import LPS
from ..volumes.volume import Volume
from .mark import KEY, mark_of

FOREGROUND = 1


def write(path: Path, pixels: NDArray[Any], like: Volume | None) -> None:
    """Write voxels where their source lies."""
    import SimpleITK as sitk

    assert like is not None
    steps = LPS @ like.affine
    sides = np.linalg.norm(steps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(pixels.transpose(2, 1, 0))
    image.SetSpacing(sides.tolist())
    image.SetOrigin(steps[:3, 3].tolist())
    image.SetDirection((steps[:3, :3] / sides).ravel().tolist())
    if pixels.dtype == np.uint8:
        image.SetMetaData(KEY, mark_of(pixels))
    with TemporaryDirectory() as folder:  # SimpleITK writes by a name's ending
        file = Path(folder) / f"mask{path.suffix.lower()}"
        sitk.WriteImage(image, str(file), useCompression=True)
        write_atomically(path, file.read_bytes())
