"""Weights of a bundle: found, checked against their hash, loaded without running what they hold."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from ...networks.features import members_of
from ..core.devices import refuse_missing
from ..core.errors import DelineateError, plain_errors, printable
from ..core.finite import not_finite
from ..core.sums import SUMS, check_sums
from .bundles import shipped_bundles
from .familiarity import read_familiarity

logger = logging.getLogger(__name__)


def load_weights(network: nn.Module, bundle_root: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Load ``models/model.pt`` of a bundle into ``network``.

    Args:
        network: as the bundle defines it.
        bundle_root: the bundle's folder.
        device: where the network goes.

    Returns:
        the network on ``device``, in evaluation mode; its ``familiarity`` is what `read_familiarity` found.

    Raises:
        DelineateError: when there are no weights, their hash is wrong, the file holds something else, they are not
            finite or of another network, or this machine has no such device.
    """
    path = Path(bundle_root) / "models" / "model.pt"
    if not path.is_file():
        raise _no_weights(Path(bundle_root))
    if (path.parent / SUMS).is_file():
        wrong = check_sums(path.parent, [path.name])  # exports beside it, e.g. model.onnx, are not what is loaded
        if wrong:
            raise DelineateError(f"{path.parent}: {'; '.join(wrong)}")
    else:
        logger.warning(f"{path} has no {SUMS} beside it: its origin can't be checked")
    refuse_missing(device)
    state = _state(path, device)
    if names := not_finite(state):
        raise DelineateError(
            f"{path}: {len(names)} of {len(state)} tensors are not finite ({names[0]}, ...), so every mask would be "
            "empty; train again with a lower learning_rate"
        )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DelineateError(
            f"{path} holds the weights of another network than network_def ({str(error).splitlines()[0]}); "
            "use the configuration that it was trained with"
        ) from error
    network.familiarity = read_familiarity(path.parent, len(members_of(network)))  # type: ignore[assignment]
    return network.to(device).eval()


def load_network(bundle: Path) -> nn.Module:
    """The network of a bundle with its weights, as its ``inference.yaml`` defines it.

    Args:
        bundle: a folder that was let in.

    Raises:
        DelineateError: as `load_weights`.
    """
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    parser.update({"bundle_root": str(bundle)})
    with plain_errors():
        return load_weights(parser.get_parsed_content("network_def"), bundle)


def _no_weights(bundle: Path) -> DelineateError:
    shipped = bundle.resolve() in {folder.resolve() for folder in shipped_bundles().values()}
    name = bundle.resolve().name if shipped else str(bundle)
    try:
        why = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["without_weights"]
    except (OSError, ValueError, LookupError, TypeError):
        why = f"train it with 'delineate train {name} --data DATASET'"
    missing = bundle / "models" / "model.pt"
    what = f"no weights are shipped with {name}" if shipped else f"{name} has no weights"
    return DelineateError(f"{what} ({missing} is missing): {printable(why)[:500]}; then name its run instead of {name}")


def _state(path: Path, device: str | torch.device) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # of many kinds; torch's own text advises to trust the file
        raise _no_state(path, f"broken, or more than tensors: {type(error).__name__}") from error
    if not isinstance(state, dict):
        raise _no_state(path, f"it is of the type {type(state).__name__}")
    return state


def _no_state(path: Path, reason: str) -> DelineateError:
    return DelineateError(
        f"{path} holds no state dict of tensors ({reason}); save network.state_dict() there, or train again"
    )
