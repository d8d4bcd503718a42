"""MONAI's own networks, called and behaving as ours; their state dicts are MONAI's."""

from .nets import AttentionUnet, BasicUNet, FlexibleUNet, SegResNet
from .supervised import DynUNet, MedNeXt
from .transformers import UNETR, SwinUNETR

__all__ = ["UNETR", "AttentionUnet", "BasicUNet", "DynUNet", "FlexibleUNet", "MedNeXt", "SegResNet", "SwinUNETR"]
