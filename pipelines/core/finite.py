"""Numbers that are none: NaN and infinity in weights and losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

REMEDY = "lower learning_rate, or set precision=float32"


def not_finite(state: Mapping[str, Any]) -> list[str]:
    """Names of the tensors of a state dict that hold NaN or infinity."""
    tensors = {n: v for n, v in state.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
    if not tensors:
        return []
    flags = torch.stack([torch.isfinite(value).all().cpu() for value in tensors.values()])
    return [name for name, finite in zip(tensors, flags.tolist(), strict=True) if not finite]
