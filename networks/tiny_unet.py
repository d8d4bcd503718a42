"""TinyU-Net: a U-Net whose blocks cascade small depthwise convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import nn

from ..errors import WrongValueError
from .blocks import Named, UpCat
from .encoder_decoder import EncoderDecoder


def _unit(
    in_channels: int, out_channels: int, kernel_size: int = 1, groups: int = 1, *, act: Named | None, norm: Named
) -> nn.Sequential:
    """Convolution, norm, activation if any; ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
    padding = kernel_size // 2
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, groups=groups, bias=False),
        get_norm_layer(norm, spatial_dims=2, channels=out_channels),
    ]
    return nn.Sequential(*layers, *([] if act is None else [get_act_layer(act)]))


class CMRF(nn.Module):
    """Cascade multi-receptive fields: ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``.

    A 1x1 convolution leaves few channels. Every second one goes through 3x3 depthwise convolutions one after the other,
    each of which sees a pixel further. What comes out of each, and the sum of those channels and the others, is put
    side by side and mixed by a 1x1 convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of ``2 * (cascade + 1)``.
        cascade: number of depthwise convolutions.
        act: activation of the 1x1 convolutions, by name or ``(name, {arguments})``.
        norm: normalisation of all convolutions, by name or ``(name, {arguments})``.

    Raises:
        WrongValueError: when ``out_channels`` does not divide into so many parts.
    """

    def __init__(self, in_channels: int, out_channels: int, cascade: int = 7, *, act: Named, norm: Named) -> None:
        super().__init__()
        parts = 2 * (cascade + 1)
        if cascade < 1 or out_channels % parts:
            raise WrongValueError(
                f"features has {out_channels} channels and the cascade {cascade} convolutions; make the features "
                f"multiples of 2 * (cascade + 1), and the cascade 1 or more"
            )
        width = out_channels // parts
        self.squeeze = _unit(in_channels, 2 * width, act=act, norm=norm)
        # linear up to the 1x1 convolution: the authors' code has no activation in the cascade
        self.cascade = nn.ModuleList(_unit(width, width, 3, width, act=None, norm=norm) for _ in range(cascade))
        self.mix = _unit(out_channels // 2, out_channels, act=act, norm=norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, in_channels, H, W) to (B, out_channels, H, W)."""
        x = self.squeeze(x)
        even, odd = x[:, 0::2], x[:, 1::2]
        fields = [even + odd]
        for depthwise in self.cascade:
            odd = depthwise(odd)
            fields.append(odd)
        mixed: torch.Tensor = self.mix(torch.cat(fields, dim=1))
        return mixed


class TinyUNet(EncoderDecoder):
    """TinyU-Net: 481,105 parameters at 3 channels in, 1 out.

    Based on: Chen J et al. TinyU-Net: Lighter Yet Better U-Net with Cascaded Multi-receptive Fields. MICCAI 2024,
    https://doi.org/10.1007/978-3-031-72114-4_60, which gives 0.48 M. A :class:`CMRF` stands at each level. As in the
    authors' code, all levels have a skip connection, the bottom is the pooled last level without a block of its own,
    and the way up is bicubic. Left out is the block's shortcut, which acts there where a block keeps its number of
    channels: nowhere in the published network. Unlike there, sizes need not be multiples of 16.

    Args:
        spatial_dims: 2.
        in_channels: channels of the image, 3 for RGB, 1 for grey.
        out_channels: channels of the logits, 1 for lesion against background.
        features: channels of each level, from the full resolution down, multiples of ``2 * (cascade + 1)``; each level
            halves the size.
        cascade: depthwise convolutions one after the other in a block; 7 see 15x15 pixels.
        act: activation, by name or ``(name, {arguments})``.
        norm: normalisation, by name or ``(name, {arguments})``; batch norm with the arguments of the authors' code.

    Raises:
        WrongValueError: when ``spatial_dims`` is not 2, or ``features`` is empty or not of such multiples.

    Example:
        >>> TinyUNet(in_channels=3, out_channels=1, features=(16, 32))(torch.zeros(1, 3, 33, 47)).shape
        torch.Size([1, 1, 33, 47])
    """

    reference: ClassVar[str] = (
        "Chen J et al. TinyU-Net: Lighter Yet Better U-Net with Cascaded Multi-receptive Fields. MICCAI 2024, "
        "https://doi.org/10.1007/978-3-031-72114-4_60"
    )

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512),
        cascade: int = 7,
        act: Named = "gelu",
        norm: Named = ("batch", {"eps": 1e-3, "momentum": 0.03}),
    ) -> None:
        super().__init__()
        if spatial_dims != 2:  # torch has no tricubic
            raise WrongValueError(f"spatial_dims is {spatial_dims}, TinyUNet takes images only; set 2, or use UNet")
        if not features:
            raise WrongValueError("features has no level, TinyUNet needs 1 or more; e.g. (64, 128, 256, 512)")
        levels = list(features)
        block = partial(CMRF, cascade=cascade, act=act, norm=norm)
        encoder = [block(c_in, c_out) for c_in, c_out in zip([in_channels, *levels], levels, strict=False)]
        decoder = [
            UpCat(nn.Upsample(scale_factor=2, mode="bicubic", align_corners=False), block(below + skip, skip))
            for below, skip in zip([levels[-1], *levels[:0:-1]], levels[::-1], strict=True)
        ]
        bottom = nn.Identity()
        self.assemble([*encoder, bottom], nn.MaxPool2d(2), decoder, nn.Conv2d(levels[0], out_channels, 1))
