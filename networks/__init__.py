"""2D segmentation networks in MONAI's vocabulary: logits out, any number of channels in and out."""

from .registry import create_network, describe_network, list_networks
from .unet import UltraLightUNet, UNet

__all__ = ["UNet", "UltraLightUNet", "create_network", "describe_network", "list_networks"]
