"""PNG: masks as 0 and 255, probabilities with 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pictures import write_png
from ..volumes.volume import Volume
from .mark import KEY, mark_of

FOREGROUND = 255


def write(path: Path, pixels: NDArray[Any], like: Volume | None) -> None:
    """Write (H, W), uint8 as it is, float32 of 0-1 as 0-65535."""
    if pixels.dtype == np.float32:
        write_png(path, np.round(pixels * 65535).astype(np.uint16))
    else:
        write_png(path, pixels, is_mask=True, remarks={KEY: mark_of(pixels)})
