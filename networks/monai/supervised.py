"""MONAI's networks with deep supervision. See :mod:`delineate.networks.monai.nets`.

With ``deep_supervision`` they give a list of logits in training, which ``monai.losses.DeepSupervisionLoss`` takes, and
the finest alone otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.networks import nets
from monai.networks.nets.dynunet import DynUNetSkipLayer

from ...errors import WrongValueError
from ..blocks import Named
from .adapter import MonaiNetwork


class DynUNet(MonaiNetwork, nets.DynUNet):
    """The U-Net of nnU-Net, optionally supervised at several depths: 7,762,561 parameters at 3 channels in, 1 out.

    Args: ``spatial_dims`` (2 or 3), ``in_channels``, ``out_channels``, and

        kernel_size: of the convolutions of each level.
        strides: by which each level is smaller than the one above; the first, 1, is the image's own.
        filters: channels of each level; 32, doubled down to 512, where ``None``.
        dropout: probability 0-1 of dropping a channel; none where ``None``.
        norm_name: normalisation, by name or ``(name, {arguments})``.
        act_name: activation, by name or ``(name, {arguments})``.
        deep_supervision: whether levels below make logits, too, in training: then continued to the image's grid.
        deep_supr_num: how many levels do, 1 to the number of levels less 2.
        res_block: whether the blocks are residual.

    Raises:
        WrongValueError: when the first stride is not 1.
    """

    reference = (
        "Isensee F et al. nnU-Net: A Self-Configuring Method for Deep Learning-Based Biomedical Image Segmentation. "
        "Nature Methods 2021, https://doi.org/10.1038/s41592-020-01008-z"
    )

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        kernel_size: Sequence[int] = (3, 3, 3, 3, 3),
        strides: Sequence[int] = (1, 2, 2, 2, 2),
        filters: Sequence[int] | None = None,
        dropout: float | None = None,
        norm_name: Named = ("INSTANCE", {"affine": True}),
        act_name: Named = ("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
        deep_supervision: bool = False,
        deep_supr_num: int = 1,
        res_block: bool = False,
    ) -> None:
        if strides[0] != 1:
            raise WrongValueError(
                f"strides begins with {strides[0]}, logits would be smaller than the image; begin with 1"
            )
        super().__init__(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=filters,
            dropout=dropout,
            norm_name=norm_name,
            act_name=act_name,
            deep_supervision=deep_supervision,
            deep_supr_num=deep_supr_num,
            res_block=res_block,
        )
        self.divisor = math.prod(strides)
        self.smallest_size = 2 * self.divisor

    def train(self, mode: bool = True) -> DynUNet:
        """As of any module, and lets the heads compute in training alone: they keep what ``torch.export`` refuses."""
        for layer in self.modules():
            if isinstance(layer, DynUNetSkipLayer) and layer.super_head is not None:
                layer.heads = self.heads if mode else None
        super().train(mode)
        return self

    def forward(self, x: torch.Tensor) -> Any:
        """Raw logits; in training with ``deep_supervision`` a list of them, each ``(B, out_channels, H, W)``."""
        logits = super().forward(x)
        return list(logits.unbind(1)) if self.training and self.deep_supervision else logits


class MedNeXt(MonaiNetwork, nets.MedNeXt):
    """U-Net of ConvNeXt blocks, in size S of the paper, kernel 3: 5,472,033 parameters at 3 channels in, 1 out.

    Size B: ``encoder_expansion_ratio=(2, 3, 4, 4)``, ``decoder_expansion_ratio=(4, 4, 3, 2)``,
    ``bottleneck_expansion_ratio=4``.

    Args: ``spatial_dims`` (2 or 3), ``in_channels``, ``out_channels``, and

        init_filters: channels of the first level; each one below has twice as many. With fewer than 16, training on a
            CPU may crash: https://github.com/uxlfoundation/oneDNN/issues/6035.
        encoder_expansion_ratio: channels inside an encoder block over those outside, for all levels or each.
        decoder_expansion_ratio: the same, for the decoder.
        bottleneck_expansion_ratio: the same, for the bottom.
        kernel_size: of the depthwise convolutions, odd.
        deep_supervision: whether all levels below make logits, too, in training: each on its own grid.
        use_residual_connection: whether the blocks are residual.
        blocks_down: blocks of each level of the encoder.
        blocks_bottleneck: blocks at the bottom.
        blocks_up: blocks of each level of the decoder, as many levels.
        global_resp_norm: whether blocks normalise the response over channels.
    """

    reference = (
        "Roy S et al. MedNeXt: Transformer-Driven Scaling of ConvNets for Medical Image Segmentation. MICCAI 2023, "
        "https://doi.org/10.1007/978-3-031-43901-8_39"
    )

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        init_filters: int = 32,
        encoder_expansion_ratio: Sequence[int] | int = 2,
        decoder_expansion_ratio: Sequence[int] | int = 2,
        bottleneck_expansion_ratio: int = 2,
        kernel_size: int = 3,
        deep_supervision: bool = False,
        use_residual_connection: bool = True,
        blocks_down: Sequence[int] = (2, 2, 2, 2),
        blocks_bottleneck: int = 2,
        blocks_up: Sequence[int] = (2, 2, 2, 2),
        global_resp_norm: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims=spatial_dims,
            init_filters=init_filters,
            in_channels=in_channels,
            out_channels=out_channels,
            encoder_expansion_ratio=encoder_expansion_ratio,
            decoder_expansion_ratio=decoder_expansion_ratio,
            bottleneck_expansion_ratio=bottleneck_expansion_ratio,
            kernel_size=kernel_size,
            deep_supervision=deep_supervision,
            use_residual_connection=use_residual_connection,
            blocks_down=blocks_down,
            blocks_bottleneck=blocks_bottleneck,
            blocks_up=blocks_up,
            global_resp_norm=global_resp_norm,
        )
        self.divisor = 2 ** len(blocks_down)
        self.smallest_size = 2 * self.divisor

    def forward(self, x: torch.Tensor) -> Any:
        """Raw logits ``(B, out_channels, H, W)``; in training with ``deep_supervision`` a list, each half the last."""
        logits = super().forward(x)
        return list(logits) if isinstance(logits, tuple) else logits
