"""Normalised surface Dice: the share of both surfaces that is within a tolerance of the other one."""

from __future__ import annotations

from collections.abc import Callable

from ..case import Case
from .base import Metric
from .dice import EMPTY


def _nsd(case: Case, tolerance: float) -> float:
    """As MONAI's ``SurfaceDiceMetric(use_subvoxels=True)``; the tolerance is in the unit of ``case.diagonal``."""
    within = sum(float(surface.size[surface.distance <= float(tolerance)].sum()) for surface in case.surfaces)
    return within / sum(float(surface.size.sum()) for surface in case.surfaces)


def _of(name: str, where: str, compute: Callable[[Case], float], needs_spacing: bool = False) -> Metric:
    title = f"Normalised surface Dice at {where}"
    return Metric(name, title, compute, EMPTY, needs_spacing=needs_spacing, source="10.2196/26151")


NSD = (
    _of("nsd_1_percent", "1 % of the diagonal", lambda case: _nsd(case, 0.01 * case.diagonal)),
    _of("nsd_2_percent", "2 % of the diagonal", lambda case: _nsd(case, 0.02 * case.diagonal)),
    _of("nsd_mm", "a tolerance in mm", lambda case: _nsd(case, case.tolerance_mm), needs_spacing=True),
)
