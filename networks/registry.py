"""The networks there are, by name."""

from __future__ import annotations

import inspect
from typing import Any

from monai.utils import ComponentStore
from torch import nn

from ..errors import UnknownNameError
from .cmunext import CMUNeXt
from .deeplabv3plus import DeepLabV3Plus
from .efficient_lite_unet import EfficientLiteUNet
from .monai import UNETR, AttentionUnet, BasicUNet, DynUNet, FlexibleUNet, MedNeXt, SegResNet, SwinUNETR
from .tiny_unet import TinyUNet
from .unet import UNet
from .variants import ClassicUNet, DepthwiseUNet, SEDepthwiseUNet, SEUNet, SpatialAttentionUNet, UltraLightUNet

NETWORKS = ComponentStore("networks", "2D segmentation networks; logits out")
NETWORKS.add("unet", "U-Net: two 3x3 convolutions a level, 64 to 1024 channels", UNet)
NETWORKS.add("depthwise_unet", "U-Net of depthwise separable convolutions", DepthwiseUNet)
NETWORKS.add("se_unet", "U-Net with squeeze-and-excitation after every block", SEUNet)
NETWORKS.add("se_depthwise_unet", "U-Net with both", SEDepthwiseUNet)
NETWORKS.add("spatial_attention_unet", "se_depthwise_unet with spatial attention in the encoder", SpatialAttentionUNet)
NETWORKS.add("ultra_light_unet", "U-Net of depthwise and grouped pointwise convolutions", UltraLightUNet)
NETWORKS.add("classic_unet", "U-Net as published in 2015: no padding, no norm", ClassicUNet)
NETWORKS.add("deeplabv3plus", "DeepLabV3+: atrous encoder, pooling at several rates, small decoder", DeepLabV3Plus)
NETWORKS.add("tiny_unet", "U-Net of cascades of depthwise convolutions, each of a larger receptive field", TinyUNet)
NETWORKS.add("cmunext", "U-Net of large depthwise kernels, with fused skip connections", CMUNeXt)
NETWORKS.add("efficient_lite_unet", "U-Net on EfficientNet-Lite, an encoder that ImageNet trains", EfficientLiteUNet)

MONAI_NETWORKS = ComponentStore("monai", "MONAI's own networks, called as ours; listed as monai.NAME")
MONAI_NETWORKS.add("BasicUNet", "MONAI's U-Net with instance norm", BasicUNet)
MONAI_NETWORKS.add("AttentionUnet", "U-Net whose skip connections are gated from below", AttentionUnet)
MONAI_NETWORKS.add("SegResNet", "residual encoder, light decoder, group norm", SegResNet)
MONAI_NETWORKS.add("DynUNet", "the U-Net of nnU-Net, with deep supervision where asked for", DynUNet)
MONAI_NETWORKS.add("FlexibleUNet", "U-Net on a ResNet or EfficientNet encoder", FlexibleUNet)
MONAI_NETWORKS.add("SwinUNETR", "shifted-window transformer encoder, convolutional decoder", SwinUNETR)
MONAI_NETWORKS.add("UNETR", "vision transformer encoder, convolutional decoder; one image size", UNETR)
MONAI_NETWORKS.add("MedNeXt", "U-Net of ConvNeXt blocks", MedNeXt)


def list_networks() -> list[str]:
    """Names that :func:`create_network` takes."""
    return [*NETWORKS.names, *(f"monai.{name}" for name in MONAI_NETWORKS.names)]


def _component(name: str) -> Any:
    if name not in list_networks():
        raise UnknownNameError("network", name, list_networks())
    store = MONAI_NETWORKS if name.startswith("monai.") else NETWORKS
    return store.components[name.removeprefix("monai.")]


def describe_network(name: str) -> str:
    """One line about the network called ``name``."""
    return str(_component(name).description)


def network_class(name: str) -> Any:
    """The class of the network called ``name``."""
    return _component(name).value


def create_network(name: str, *, in_channels: int = 3, out_channels: int = 1, **arguments: object) -> nn.Module:
    """A fresh network, by name.

    Args:
        name: one of :func:`list_networks`.
        in_channels: channels of the image ``(B, in_channels, H, W)``.
        out_channels: channels of the logits ``(B, out_channels, H, W)``.
        arguments: further constructor arguments, e.g. ``features``.

    Raises:
        UnknownNameError: when there is no such network, or it does not take an argument; the closest name is given.
    """
    component = network_class(name)
    known = list(inspect.signature(component).parameters)
    for argument in arguments:
        if argument not in known:
            raise UnknownNameError(f"argument of {name}", argument, known)
    network: nn.Module = component(in_channels=in_channels, out_channels=out_channels, **arguments)
    return network
