"""A volume on its own grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .windows import Window


@dataclass(frozen=True)
class Volume:
    """Voxels as they lie in the source, and where they lie in the patient.

    Attributes:
        source: the file, or the folder of a DICOM series.
        voxels: (I, J, K) or, with several channels, (I, J, K, C): real values (CT: HU), or labels. NIfTI as nibabel
            gives it; a DICOM series as columns, rows, slices, in the order of their positions along the normal.
        affine: (4, 4), from (i, j, k, 1) to mm in RAS+ (nibabel's convention), whatever the source's own.
        window: the greys the source itself asks for, where it does.
        inverted: whether low values are to be shown bright (MONOCHROME1).
    """

    source: Path
    voxels: NDArray[Any]
    affine: NDArray[np.float64]
    window: Window | None = None
    inverted: bool = False
