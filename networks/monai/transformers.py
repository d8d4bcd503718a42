"""MONAI's transformers, called and behaving as our networks. See :mod:`delineate.networks.monai.nets`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from monai.networks import nets
from monai.utils import optional_import

from ...errors import WrongValueError
from ..blocks import Named
from .adapter import MonaiNetwork


class SwinUNETR(MonaiNetwork, nets.SwinUNETR):
    """U-Net with a shifted-window transformer for its encoder: 6,302,875 parameters at 3 channels in, 1 out.

    Args: ``spatial_dims`` (2 or 3), ``in_channels``, ``out_channels``, and

        feature_size: channels of the first level, a multiple of 12.
        depths: transformer blocks of each stage.
        num_heads: attention heads of each stage.
        window_size: tokens along the side of a window.
        norm_name: normalisation of the decoder, by name or ``(name, {arguments})``.
        drop_rate: probability 0-1 of dropping a feature of a token.
        attn_drop_rate: probability 0-1 of dropping an attention weight.
        dropout_path_rate: probability 0-1 of passing by the last block; lower for those before it.
        use_checkpoint: compute activations again for the gradients: less memory, more time.
        use_v2: put a residual convolution block in front of each stage.

    Raises:
        ImportError: when einops is missing.
    """

    reference = (
        "Hatamizadeh A et al. Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images. "
        "BrainLes 2021, https://doi.org/10.1007/978-3-031-08999-2_22"
    )
    dynamic_export = False  # windows are counted in numpy, which a graph keeps as a number
    smallest_size, divisor = 64, 32

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        feature_size: int = 24,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        norm_name: Named = "instance",
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        dropout_path_rate: float = 0.0,
        use_checkpoint: bool = False,
        use_v2: bool = False,
    ) -> None:
        _need_einops("SwinUNETR")
        device = torch.get_default_device()
        with torch.device("cpu"):  # MONAI reads probabilities from a tensor, which the device meta has not
            super().__init__(
                in_channels,
                out_channels,
                depths=depths,
                num_heads=num_heads,
                window_size=window_size,
                feature_size=feature_size,
                norm_name=norm_name,
                drop_rate=drop_rate,
                attn_drop_rate=attn_drop_rate,
                dropout_path_rate=dropout_path_rate,
                use_checkpoint=use_checkpoint,
                spatial_dims=spatial_dims,
                use_v2=use_v2,
            )
        self.to(device)


class UNETR(MonaiNetwork, nets.UNETR):
    """Decoder on a vision transformer: 87,727,345 parameters at 3 channels in, 1 out.

    It takes images of one size only: each patch of 16x16 pixels has its own position embedding.

    Args: ``spatial_dims`` (2 or 3), ``in_channels``, ``out_channels``, and

        img_size: pixels a side of the image, a square; one number or one a side, a multiple of 16.
        feature_size: channels of the first level of the decoder.
        hidden_size: features of a token.
        mlp_dim: features of the hidden layer of a transformer block.
        num_heads: attention heads.
        norm_name: normalisation of the decoder, by name or ``(name, {arguments})``.
        dropout_rate: probability 0-1 of dropping a feature of a token.
        qkv_bias: whether queries, keys and values have a bias.

    Raises:
        WrongValueError: when ``img_size`` is no square or no multiple of 16.
        ImportError: when einops is missing.
    """

    reference = (
        "Hatamizadeh A et al. UNETR: Transformers for 3D Medical Image Segmentation. WACV 2022, "
        "https://doi.org/10.1109/WACV51458.2022.00181"
    )
    dynamic_export = False  # there is one size
    divisor = sys.maxsize  # none follows

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        img_size: Sequence[int] | int = 256,
        feature_size: int = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_heads: int = 12,
        norm_name: Named = "instance",
        dropout_rate: float = 0.0,
        qkv_bias: bool = False,
    ) -> None:
        _need_einops("UNETR")
        sides = {img_size} if isinstance(img_size, int) else set(img_size)
        side = max(sides)
        if len(sides) > 1 or side % 16:
            raise WrongValueError(f"img_size is {img_size}; set the side of a square, a multiple of 16, e.g. 256")
        super().__init__(
            in_channels,
            out_channels,
            side,
            feature_size=feature_size,
            hidden_size=hidden_size,
            mlp_dim=mlp_dim,
            num_heads=num_heads,
            norm_name=norm_name,
            dropout_rate=dropout_rate,
            spatial_dims=spatial_dims,
            qkv_bias=qkv_bias,
        )
        self.smallest_size = side

    def check(self, x: torch.Tensor) -> None:
        """Refuse an image of another size.

        Raises:
            WrongValueError: naming the size that is valid.
        """
        valid = [self.smallest_size] * (x.dim() - 2)
        if list(x.shape[2:]) != valid:
            raise WrongValueError(
                f"image is {list(x.shape[2:])} pixels, this network was made with img_size={self.smallest_size}; "
                f"resize it to {valid}, or make the network with another img_size"
            )


def _need_einops(network: str) -> None:
    if not optional_import("einops")[1]:
        raise ImportError(f"{network} needs einops, which is not installed; pip install einops")
