"""Values as reports show them: what is not defined is a dash, never NaN."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import METRICS

DASH = "–"  # noqa: RUF001


def number(value: Any) -> float | None:
    """A value of a row, which may have been read from a file; ``None`` where it is none, or not finite."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def column_of(values: Iterable[float | None]) -> NDArray[np.float64]:
    """The values as an array, NaN where there is none."""
    return np.array([math.nan if value is None else value for value in values], np.float64)


def known(values: Iterable[float | None]) -> NDArray[np.float64]:
    """The values that there are."""
    return np.array([value for value in values if value is not None], np.float64)


def shown(value: Any, name: str = "") -> str:
    """A number for people, with three decimals, of a metric with a unit two; a dash where there is none."""
    found = number(value)
    if found is None:
        return DASH
    unit = METRICS[name].unit if name in METRICS else ""
    return f"{found:,.2f}" if unit else f"{found:.3f}"


def span(bounds: Any, name: str = "") -> str:
    """Two numbers for people: ``0.912 to 0.945``; a dash where there are none."""
    return f"{shown(bounds[0], name)} to {shown(bounds[1], name)}" if bounds else DASH


def per_cent(share: Any) -> str:
    """A share as per cent: ``3.2 %``."""
    found = number(share)
    return DASH if found is None else f"{100 * found:.1f} %"


def is_score(entry: Any) -> bool:
    """Whether it is a mean with its interval."""
    return isinstance(entry, Mapping) and "ci95" in entry


def score_of(entry: Any) -> Mapping[str, Any]:
    """What is known of a score, which may be a number alone."""
    return entry if isinstance(entry, Mapping) else {"value": entry}
