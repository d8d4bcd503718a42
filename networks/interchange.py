"""Weights that were trained elsewhere, in a plain PyTorch network of the same layers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

import torch
from torch import nn

from ..errors import WrongValueError


def load_in_order(network: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Load a state dict whose names differ but whose layers are the same, in the same order.

    Of the names only the last word counts: tensors are paired by their order, and must agree in that word and in shape.
    A network whose decoder concatenates ``[upsampled, skip]``, where ours does ``[skip, upsampled]``, has the same
    shapes and other weights: compare its logits on an image before you trust the result.

    Args:
        network: its parameters and buffers are overwritten.
        state_dict: of the other network, as ``torch.load(path, weights_only=True)`` gives it.

    Returns:
        the name here of each name there.

    Raises:
        WrongValueError: when an entry is no tensor, or the tensors differ in number or shape; nothing is loaded then.
    """
    for name, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            raise WrongValueError(
                f"{name!r} is a {type(value).__name__}, not a tensor; remove it, or pass the part with them"
            )
    own = network.state_dict()
    advice = "create the network with the same features, norm, bias and upsample"
    for place, (mine, theirs) in enumerate(zip_longest(own, state_dict), start=1):
        if mine is None or theirs is None:
            raise WrongValueError(
                f"the network has {len(own)} tensors, the state dict {len(state_dict)}, alike as far as they go; "
                f"{advice}"
            )
        if _kind(mine, own) != _kind(theirs, state_dict):
            raise WrongValueError(
                f"tensor {place} is {mine} {list(own[mine].shape)} here and {theirs} {list(state_dict[theirs].shape)} "
                f"there; {advice}"
            )
    network.load_state_dict(dict(zip(own, state_dict.values(), strict=True)))
    return dict(zip(state_dict, own, strict=True))


def _kind(name: str, state_dict: Mapping[str, torch.Tensor]) -> tuple[str, torch.Size]:
    """The last word, e.g. ``weight`` or ``running_mean``, and the shape."""
    return name.rpartition(".")[2], state_dict[name].shape
