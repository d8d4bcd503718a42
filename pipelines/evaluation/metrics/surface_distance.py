"""Distances between the edges of both masks, as MONAI measures them: in mm, in pixels, in per cent of the diagonal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from ..case import Case
from .base import Metric

EMPTY = "0 where both masks are empty, the image's diagonal where one is; no image is left out"


def _hd95(case: Case) -> float:
    """The larger of the 95th percentiles of both directions, as MONAI's ``HausdorffDistanceMetric(percentile=95)``."""
    return max(float(torch.quantile(torch.from_numpy(distance), 0.95)) for distance in case.distances)


def _msd(case: Case) -> float:
    """The mean over the edge pixels of both masks, as MONAI's ``SurfaceDistanceMetric(symmetric=True)``."""
    return float(torch.cat([torch.from_numpy(distance) for distance in case.distances]).mean())


def _diagonal(case: Case) -> float:
    return case.diagonal


def _of(name: str, title: str, distance: Callable[[Case], float], source: str) -> tuple[Metric, Metric, Metric]:
    """One distance in three units; like the diagonal, it is in mm where the spacing is known, else in pixels."""
    mm = Metric(
        f"{name}_mm",
        title,
        distance,
        EMPTY,
        both_empty=0.0,
        one_empty=_diagonal,
        higher_is_better=False,
        unit="mm",
        needs_spacing=True,
        source=source,
    )
    pixels = replace(mm, name=f"{name}_pixels", unit="pixels", needs_spacing=False, without_spacing=True)
    percent = replace(
        pixels,
        name=f"{name}_percent",
        compute=lambda case: 100 * distance(case) / case.diagonal,
        one_empty=100.0,
        unit="% of the diagonal",
        without_spacing=False,
    )
    return percent, mm, pixels


HD95 = _of("hd95", "95 % Hausdorff distance", _hd95, "10.1109/34.232073")
MSD = _of("msd", "Mean surface distance", _msd, "10.1109/TMI.2009.2013851")
