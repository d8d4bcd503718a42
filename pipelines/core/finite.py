"""Numbers that are none: NaN and infinity in weights and losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import InputError

REMEDY = "lower learning_rate, or set precision=float32"


def not_finite_answer(source: str) -> InputError:
    """The refusal of an image for which a network answers so."""
    remedy = f"its weights are of no use: {REMEDY}, train again"
    return InputError(source, "the network answers with NaN or infinity", remedy)


def not_finite(state: Mapping[str, Any]) -> list[str]:
    """Names of the tensors of a state dict that hold NaN or infinity."""
    import torch  # what is said of such numbers is said without it, too

    tensors = {n: v for n, v in state.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
    if not tensors:
        return []
    flags = torch.stack([torch.isfinite(value).all().cpu() for value in tensors.values()])
    return [name for name, finite in zip(tensors, flags.tolist(), strict=True) if not finite]
