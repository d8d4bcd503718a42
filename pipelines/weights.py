"""Weights of a bundle: found, checked against their hash, loaded without running what they hold."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from .errors import DelineateError
from .weight_sums import SUMS, check_sums

logger = logging.getLogger(__name__)


def load_weights(network: nn.Module, bundle_root: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Load ``models/model.pt`` of a bundle into ``network``.

    Args:
        network: as the bundle defines it.
        bundle_root: the bundle's folder.
        device: where the network goes.

    Returns:
        the network on ``device``, in evaluation mode.

    Raises:
        DelineateError: when there are no weights, their hash is wrong, or they are of another network.
    """
    path = Path(bundle_root) / "models" / "model.pt"
    if not path.is_file():
        raise DelineateError(
            f"{bundle_root} has no weights ({path} is missing); "
            f"train it with 'delineate train {bundle_root} --data DATASET' and use the run, or put the weights there"
        )
    if (path.parent / SUMS).is_file():
        wrong = check_sums(path.parent)
        if wrong:
            raise DelineateError(f"{path.parent}: {'; '.join(wrong)}; restore the weights or train again")
    else:
        logger.warning(f"{path} has no {SUMS} beside it: its origin can't be checked")
    state = torch.load(path, map_location=device, weights_only=True)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DelineateError(
            f"{path} holds the weights of another network than network_def ({str(error).splitlines()[0]}); "
            "use the configuration that it was trained with"
        ) from error
    return network.to(device).eval()
