"""Phantom CT: a trunk with a spine, a large organ on the right and, to be outlined, a small one on the left.

All is drawn in the patient's own coordinates (mm; x to the right, y to the front, z to the head), then sampled on a
grid, so that left stays left whichever way a volume is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.floating[Any]]

SHAPE = (96, 80, 20)
SPACING = (4.0, 4.0, 6.0)  # mm
_AIR, _FAT, _MUSCLE, _ORGAN, _TARGET, _BONE = -1000.0, -100.0, 45.0, 75.0, 115.0, 450.0  # HU
_NOISE = 14.0  # HU


def phantom_volume(seed: int) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float64]]:
    """Draw one volume; the same seed gives the same.

    Args:
        seed: any number from 0 up; odd ones are stored from right to left and front to back (LPS), even ones RAS.

    Returns:
        HU, (I, J, K) int16; the label, uint8 0/1; and the affine to mm in RAS+, (4, 4).
    """
    rng = np.random.default_rng(seed)
    signs = np.array((-1.0, -1.0, 1.0) if seed % 2 else (1.0, 1.0, 1.0))
    affine = np.diag([*(signs * SPACING), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    points = np.moveaxis(np.indices(SHAPE, np.float64), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    target = _ellipsoid(rng, points, (-85.0, -45.0, 5.0), (32.0, 42.0, 45.0)) < 1
    trunk = _ellipsoid(rng, points, (0.0, 0.0, 0.0), (165.0, 125.0, 1e6), 0.03)
    values = np.full(SHAPE, _AIR)
    for region, hu in (
        (trunk < 1, _FAT),
        (trunk < 0.82, _MUSCLE),
        (_ellipsoid(rng, points, (60.0, 10.0, 15.0), (70.0, 65.0, 60.0)) < 1, _ORGAN),
        (_ellipsoid(rng, points, (0.0, -70.0, 0.0), (22.0, 20.0, 1e6)) < 1, _BONE),
        (target, _TARGET),
    ):
        values[region] = hu + rng.normal(0, 6)
    blurred = gaussian_filter(values, 0.6) + rng.normal(0, _NOISE, SHAPE)
    return np.rint(blurred).astype(np.int16), target.astype(np.uint8), affine


def write_phantom_volumes(out: Path, count: int, seed: int = 0) -> Path:
    """Write volumes and labels as ``imagesTr/phantom_0001.nii.gz`` and ``labelsTr/phantom_0001.nii.gz`` and so on.

    Args:
        out: the folder, made if missing; other files in it stay as they are.
        count: how many to write.
        seed: from 0 up; each seed gives a set of its own.

    Returns:
        ``out``.
    """
    for folder in ("imagesTr", "labelsTr"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        values, label, affine = phantom_volume(seed * 1_000_000 + number)
        for folder, voxels in (("imagesTr", values), ("labelsTr", label)):
            nibabel.save(nibabel.Nifti1Image(voxels, affine), out / folder / f"phantom_{number:04d}.nii.gz")
    return out


def _ellipsoid(
    rng: np.random.Generator, points: Array, centre: Sequence[float], radii: Sequence[float], roughness: float = 0.15
) -> Array:
    """Squared distance from the centre in radii, (I, J, K), < 1 inside; place, size and border vary a little.

    Args:
        rng: what varies.
        points: (I, J, K, 3), mm.
        centre: mm.
        radii: mm.
        roughness: how much the border waves.
    """
    away = (points - centre - rng.normal(0, 6, 3)) / (np.array(radii) * rng.uniform(0.85, 1.15, 3))
    wobble = gaussian_filter(rng.normal(0, 1, SHAPE), (5, 5, 3))
    return np.asarray((away**2).sum(-1) + roughness * wobble / wobble.std())
