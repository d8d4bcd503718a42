"""2D segmentation networks in MONAI's vocabulary: logits out, any number of channels in and out."""

from .cmunext import CMUNeXt
from .deeplabv3plus import DeepLabV3Plus
from .efficient_lite_unet import EfficientLiteUNet
from .ensemble import Ensemble
from .facts import NetworkFacts, network_facts
from .interchange import load_in_order
from .registry import create_network, describe_network, list_networks
from .tiny_unet import TinyUNet
from .unet import UNet
from .variants import ClassicUNet, DepthwiseUNet, SEDepthwiseUNet, SEUNet, SpatialAttentionUNet, UltraLightUNet

__all__ = [
    "CMUNeXt",
    "ClassicUNet",
    "DeepLabV3Plus",
    "DepthwiseUNet",
    "EfficientLiteUNet",
    "Ensemble",
    "NetworkFacts",
    "SEDepthwiseUNet",
    "SEUNet",
    "SpatialAttentionUNet",
    "TinyUNet",
    "UNet",
    "UltraLightUNet",
    "create_network",
    "describe_network",
    "list_networks",
    "load_in_order",
    "network_facts",
]
