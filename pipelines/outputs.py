"""One result, and the files it is written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .images import read_image, write_png
from .overlay import draw_outline


@dataclass(frozen=True)
class Segmentation:
    """The outline in one image.

    Attributes:
        source: the image file.
        name: relative path without suffix that outputs are named after.
        mask: (H, W) uint8, 0 or 1, on the image's own grid, EXIF orientation applied.
        probability: (H, W) float32, 0-1.
    """

    source: str
    name: str
    mask: NDArray[np.uint8]
    probability: NDArray[np.float32]

    @classmethod
    def from_output(cls, output: Mapping[Any, Any]) -> Segmentation:
        """From one item after postprocessing: ``image`` (for its file name), ``name``, ``pred``, ``probability``."""
        source = str(output["image"].meta["filename_or_obj"])
        pixels = {key: np.asarray(output[key].detach().cpu()) for key in ("pred", "probability")}
        name = str(output.get("name", Path(source).stem))
        return cls(source, name, pixels["pred"][0].astype(np.uint8), pixels["probability"][0].astype(np.float32))


def write_segmentation(
    result: Segmentation, folder: str | Path, *, overlay: bool = False, probability: bool = False
) -> Path:
    """Write ``NAME_mask.png`` (0/255) and, where asked, ``NAME_overlay.png`` and ``NAME_probability.png``.

    Args:
        result: one segmented image.
        folder: where to; folders below it are made as ``result.name`` asks.
        overlay: also the image with the outline drawn in.
        probability: also the probabilities as 16-bit PNG, 0-65535 for 0-1.

    Returns:
        the mask's path.
    """
    base = Path(folder) / result.name
    base.parent.mkdir(parents=True, exist_ok=True)
    path = base.with_name(f"{base.name}_mask.png")
    write_png(path, result.mask * np.uint8(255))
    if overlay:
        write_png(
            base.with_name(f"{base.name}_overlay.png"),
            draw_outline(read_image(result.source, "rgb"), result.mask),
        )
    if probability:
        scaled = np.round(result.probability * 65535).astype(np.uint16)
        write_png(base.with_name(f"{base.name}_probability.png"), scaled)
    return path
