"""Convolution blocks that the encoder-decoder is put together from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import nn

from .sizes import crop_centre, fit_size

Named = str | tuple[str, dict[str, object]]
"""A layer by name, or by name and arguments, as MONAI's factories take it."""

Convolution = Callable[..., nn.Module]
"""``(spatial_dims, in_channels, out_channels, bias)`` to a module."""


def plain_conv(spatial_dims: int, in_channels: int, out_channels: int, bias: bool) -> nn.Module:
    """One 3x3 convolution, ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
    conv: nn.Module = Conv[Conv.CONV, spatial_dims](in_channels, out_channels, 3, padding=1, bias=bias)
    return conv


def valid_conv(spatial_dims: int, in_channels: int, out_channels: int, bias: bool) -> nn.Module:
    """One 3x3 convolution without padding, ``(B, in_channels, H, W)`` to ``(B, out_channels, H - 2, W - 2)``."""
    conv: nn.Module = Conv[Conv.CONV, spatial_dims](in_channels, out_channels, 3, bias=bias)
    return conv


def separable_conv(spatial_dims: int, in_channels: int, out_channels: int, bias: bool, groups: int = 1) -> nn.Module:
    """Depthwise 3x3, then pointwise 1x1 in ``min(groups, in_channels)`` groups.

    Shapes ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``.
    """
    conv = Conv[Conv.CONV, spatial_dims]
    return nn.Sequential(
        conv(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=bias),
        conv(in_channels, out_channels, 1, groups=min(groups, in_channels), bias=bias),
    )


class TwoConv(nn.Sequential):
    """Twice (convolution, norm, activation, dropout): ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        mid_channels: channels between the two convolutions; ``out_channels`` where ``None``.
        conv: makes each convolution.
        act: activation, by name or ``(name, {arguments})``.
        norm: normalisation, by name or ``(name, {arguments})``; none where ``None``.
        dropout: probability 0-1 of dropping a channel after each activation.
        bias: whether the convolutions have a bias.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        mid_channels: int | None = None,
        *,
        conv: Convolution = plain_conv,
        act: Named = ("relu", {"inplace": True}),
        norm: Named | None = "batch",
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        layers: list[nn.Module] = []
        mid_channels = mid_channels or out_channels
        for c_in, c_out in ((in_channels, mid_channels), (mid_channels, out_channels)):
            layers.append(conv(spatial_dims, c_in, c_out, bias))
            if norm is not None:
                layers.append(get_norm_layer(norm, spatial_dims=spatial_dims, channels=c_out))
            layers.append(get_act_layer(act))
            if dropout:
                layers.append(nn.Dropout2d(dropout) if spatial_dims == 2 else nn.Dropout3d(dropout))
        super().__init__(*layers)


class UpCat(nn.Module):
    """Doubles the size, puts the skip connection in front, and convolves.

    Args:
        upsample: the module that doubles ``(B, C, H, W)`` to ``(B, C', 2H, 2W)``.
        convs: the block after the concatenation.
    """

    def __init__(self, upsample: nn.Module, convs: nn.Module) -> None:
        super().__init__()
        self.upsample = upsample
        self.convs = convs

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, h, w) and ``skip`` (B, S, H, W), H either 2h or 2h + 1, to (B, out, H, W)."""
        x, skip = self.align(self.upsample(x), skip)
        merged: torch.Tensor = self.convs(torch.cat([skip, x], dim=1))
        return merged

    def align(self, x: torch.Tensor, skip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both at one size: an odd size lost its last row or column when it was halved."""
        return fit_size(x, skip), skip


class UpCropCat(UpCat):
    """:class:`UpCat` for convolutions without padding, whose skip connection is larger and is cropped to its centre."""

    def align(self, x: torch.Tensor, skip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both at the size of ``x``."""
        return x, crop_centre(skip, x)
