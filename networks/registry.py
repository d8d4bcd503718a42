"""The networks there are, by name."""

from __future__ import annotations

import inspect

from monai.utils import ComponentStore, look_up_option
from torch import nn

from .unet import UltraLightUNet, UNet

NETWORKS = ComponentStore("networks", "2D segmentation networks; logits out")
NETWORKS.add("unet", "U-Net, two 3x3 convolutions a level, 64 to 1024 channels", UNet)
NETWORKS.add("ultra_light_unet", "U-Net of depthwise and grouped pointwise convolutions", UltraLightUNet)


def list_networks() -> list[str]:
    """Names that :func:`create_network` takes."""
    return list(NETWORKS.names)


def describe_network(name: str) -> str:
    """One line about the network called ``name``."""
    return str(NETWORKS.components[look_up_option(name, list_networks())].description)


def create_network(name: str, *, in_channels: int = 3, out_channels: int = 1, **arguments: object) -> nn.Module:
    """A fresh network, by name.

    Args:
        name: one of :func:`list_networks`.
        in_channels: channels of the image ``(B, in_channels, H, W)``.
        out_channels: channels of the logits ``(B, out_channels, H, W)``.
        arguments: further constructor arguments, e.g. ``features``.

    Raises:
        ValueError: when there is no such network, or it does not take an argument; the closest name is given.
    """
    component = NETWORKS[look_up_option(name, list_networks())]
    known = list(inspect.signature(component).parameters)
    for argument in arguments:
        look_up_option(argument, known)
    network: nn.Module = component(in_channels=in_channels, out_channels=out_channels, **arguments)
    return network
