"""How far an image is from those that the network was trained with, as its metadata tell, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..bundling.familiarity import Familiarity, Floats
from ..core.errors import printable

DISTANCE = "feature_distance"
"""Of an image's metadata: see `Familiarity.distances`; of an ensemble the mean over its members."""
UNLIKE = "unlike most of the images that the network was trained with"
"""What is said of an image that is not familiar."""
_NAMED = 3


def mean_distance(known: Sequence[Familiarity], features: Sequence[Floats]) -> float:
    """How far an image is: the mean over networks.

    Args:
        known: of each network.
        features: of the image, (D,), as each network has them.
    """
    return float(np.mean([float(one.distances(each[None])[0]) for one, each in zip(known, features, strict=True)]))


def noted_distance(image: Any) -> float | None:
    """What is noted in an image's metadata; ``None`` where that is nothing, or not finite."""
    value = getattr(image, "meta", {}).get(DISTANCE)
    distance = float(value[0] if isinstance(value, list | tuple) else value) if value is not None else math.nan
    return distance if math.isfinite(distance) else None


def unfamiliar_warning(names: Sequence[str], total: int, table: str, value: str = "no") -> str:
    """One line about images that are unlike those of the training.

    Args:
        names: of these images.
        total: how many images there are.
        table: the file in which all are marked.
        value: with which they are marked there.
    """
    shown = ", ".join(map(printable, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
    return (
        f"{UNLIKE}: {len(names)} of {total} ({shown}); check these masks by eye; "
        f"they have '{value}' in the column familiar of {table}"
    )
