"""Attention that weighs channels or pixels of a feature map."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import nn


class SqueezeExcitation(nn.Module):
    """Weighs each channel, 0-1, by what all channels are on average; ``(B, C, H, W)`` to the same shape.

    Hu J, Shen L, Sun G. Squeeze-and-Excitation Networks. CVPR 2018, https://doi.org/10.1109/CVPR.2018.00745.

    Args:
        channels: C.
        reduction: channels over the width of the hidden layer, which is at least 1.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.weigh = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, H, W) times one weight a channel."""
        weights: torch.Tensor = self.weigh(x.flatten(2).mean(2))
        return x * weights.reshape(weights.shape + (1,) * (x.dim() - 2))


class SpatialAttention(nn.Module):
    """Weighs each pixel, 0-1, by the mean and the maximum over channels around it; ``(B, C, H, W)`` to the same shape.

    Woo S et al. CBAM: Convolutional Block Attention Module. ECCV 2018, https://doi.org/10.1007/978-3-030-01234-2_1.

    Args:
        spatial_dims: 2 or 3.
        kernel_size: of the convolution, odd.
    """

    def __init__(self, spatial_dims: int = 2, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = Conv[Conv.CONV, spatial_dims](2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, H, W) times one weight a pixel."""
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        weighed: torch.Tensor = x * self.conv(summary).sigmoid()
        return weighed
