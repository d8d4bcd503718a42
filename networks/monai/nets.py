"""MONAI's own networks, called and behaving as ours: 2D by default, logits on the image's grid, sizes refused by name.

Each class is MONAI's of the same name and computes the same, with its parameters under their names: checkpoints go
either way. Arguments are MONAI's, too; those that a 2D segmentation leaves alone are missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from monai.networks import nets
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE

from ...errors import UnknownNameError
from ..blocks import Named
from .adapter import MonaiNetwork


class BasicUNet(MonaiNetwork, nets.BasicUNet):
    """U-Net of five levels, light and with instance norm: 1,979,009 parameters at 3 channels in, 1 out.

    Args: ``spatial_dims`` (2 or 3), ``in_channels``, ``out_channels``, and

        features: channels of the five levels, and of what the logits are made from.
        act: activation, by name or ``(name, {arguments})``.
        norm: normalisation, by name or ``(name, {arguments})``.
        bias: whether the convolutions have a bias.
        dropout: probability 0-1 of dropping a channel.
        upsample: ``"deconv"``, ``"pixelshuffle"`` or ``"nontrainable"``.
    """

    reference = (
        "Falk T et al. U-Net: Deep Learning for Cell Counting, Detection, and Morphometry. Nature Methods 2019, "
        "https://doi.org/10.1038/s41592-018-0261-2"
    )
    dynamic_export = False  # the decoder asks each size whether to pad, and a graph keeps the answer
    smallest_size, divisor = 32, 1

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        features: Sequence[int] = (32, 32, 64, 128, 256, 32),
        act: Named = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
        norm: Named = ("instance", {"affine": True}),
        bias: bool = True,
        dropout: float = 0.0,
        upsample: str = "deconv",
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, features, act, norm, bias, dropout, upsample)


class AttentionUnet(MonaiNetwork, nets.AttentionUnet):
    """U-Net whose skip connections are gated by what comes from below: 1,987,705 parameters at 3 channels in, 1 out.

    Args: ``spatial_dims`` (2 or 3), ``in_channels``, ``out_channels``, and

        channels: channels of each level, from the full resolution down.
        strides: by which each level but the first is smaller than the one above.
        kernel_size: of the convolutions.
        up_kernel_size: of the transposed convolutions.
        dropout: probability 0-1 of dropping a channel.
    """

    reference = (
        "Oktay O et al. Attention U-Net: Learning Where to Look for the Pancreas. MIDL 2018, "
        "https://doi.org/10.48550/arXiv.1804.03999"
    )

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        strides: Sequence[int] = (2, 2, 2, 2),
        kernel_size: int = 3,
        up_kernel_size: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            spatial_dims, in_channels, out_channels, channels, strides, kernel_size, up_kernel_size, dropout
        )
        self.divisor = math.prod(strides[: len(channels) - 1])
        self.smallest_size = 2 * self.divisor


class SegResNet(MonaiNetwork, nets.SegResNet):
    """Residual encoder with a light decoder: 395,121 parameters at 3 channels in, 1 out.

    Args: ``spatial_dims`` (2 or 3), ``in_channels``, ``out_channels``, and

        init_filters: channels of the first level; each one below has twice as many.
        dropout_prob: probability 0-1 of dropping a channel after the first convolution; none where ``None``.
        act: activation, by name or ``(name, {arguments})``.
        norm: normalisation, by name or ``(name, {arguments})``.
        blocks_down: residual blocks of each level of the encoder.
        blocks_up: residual blocks of each level of the decoder, one level fewer.
        upsample_mode: ``"nontrainable"``, ``"deconv"`` or ``"pixelshuffle"``.
    """

    reference = (
        "Myronenko A. 3D MRI Brain Tumor Segmentation Using Autoencoder Regularization. BrainLes 2018, "
        "https://doi.org/10.1007/978-3-030-11726-9_28"
    )
    trained_on_cpu_in = "float32"  # a step of 4 images of 192x192 on a core with AMX: 1.5 s, in bfloat16 2.1 s

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        init_filters: int = 8,
        dropout_prob: float | None = None,
        act: Named = ("RELU", {"inplace": True}),
        norm: Named = ("GROUP", {"num_groups": 8}),
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] = (1, 1, 1),
        upsample_mode: str = "nontrainable",
    ) -> None:
        super().__init__(
            spatial_dims=spatial_dims,
            init_filters=init_filters,
            in_channels=in_channels,
            out_channels=out_channels,
            dropout_prob=dropout_prob,
            act=act,
            norm=norm,
            blocks_down=blocks_down,
            blocks_up=blocks_up,
            upsample_mode=upsample_mode,
        )
        self.divisor = 2 ** (len(blocks_down) - 1)
        self.smallest_size = 2 * self.divisor


class FlexibleUNet(MonaiNetwork, nets.FlexibleUNet):
    """U-Net with a classifier for its encoder: 13,545,585 parameters at 3 channels in, 1 out.

    The encoder starts untrained. Unlike in MONAI's class gradients pass the shortcuts of resnet18 and resnet34. It
    has no paper of its own; the DOI is MONAI's.

    Args: ``spatial_dims`` (2 or 3), ``in_channels``, ``out_channels``, and

        backbone: ``"resnet10"`` to ``"resnet200"``, ``"efficientnet-b0"`` to ``"efficientnet-b8"`` or
            ``"efficientnet-l2"``.
        decoder_channels: channels of each level of the decoder, from the bottom up.
        norm: normalisation of the decoder, by name or ``(name, {arguments})``.
        act: activation of the decoder, by name or ``(name, {arguments})``.
        dropout: probability 0-1 of dropping a channel in the decoder.
        upsample: ``"nontrainable"``, ``"deconv"`` or ``"pixelshuffle"``.

    Raises:
        UnknownNameError: when there is no such backbone; the closest name is given.
    """

    reference = (
        "Cardoso MJ et al. MONAI: An Open-Source Framework for Deep Learning in Healthcare. arXiv 2022, "
        "https://doi.org/10.48550/arXiv.2211.02701"
    )
    smallest_size, divisor = 64, 32

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        backbone: str = "resnet18",
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        norm: Named = ("batch", {"eps": 1e-3, "momentum": 0.1}),
        act: Named = ("relu", {"inplace": True}),
        dropout: float = 0.0,
        upsample: str = "nontrainable",
    ) -> None:
        if backbone not in FLEXUNET_BACKBONE.register_dict:
            raise UnknownNameError("backbone", backbone, FLEXUNET_BACKBONE.register_dict)
        super().__init__(
            in_channels,
            out_channels,
            backbone,
            decoder_channels=decoder_channels,
            spatial_dims=spatial_dims,
            norm=norm,
            act=act,
            dropout=dropout,
            upsample=upsample,
            is_pad=False,  # does not help with sizes that are no multiple of 32
        )
        block: Any
        for block in self.modules():
            if isinstance(getattr(block, "downsample", None), partial):
                block.downsample = partial(_thin_out, **block.downsample.keywords)


def _thin_out(x: torch.Tensor, planes: int, stride: int, spatial_dims: int) -> torch.Tensor:
    """The shortcut of MONAI's resnet18 and resnet34, which there lets no gradient through and can't be exported.

    Args:
        x: feature map ``(B, C, H, W)``.
        planes: channels that it is filled up to with zeros.
        stride: of the pixels taken.
        spatial_dims: 2 or 3.
    """
    places = (slice(None), slice(None), *(slice(None, None, stride),) * spatial_dims)
    return torch.nn.functional.pad(x[places], [0, 0] * spatial_dims + [0, planes - x.shape[1]])
