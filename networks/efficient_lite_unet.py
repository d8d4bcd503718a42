"""A U-Net on an EfficientNet-Lite encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from monai.networks.layers.utils import get_act_layer
from torch import nn
from torch.nn.functional import interpolate

from ..errors import UnknownNameError, WrongValueError
from .efficientnet_lite import LITES, EfficientNetLite
from .sizes import check_size


def _unit(c_in: int, c_out: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), get_act_layer(("relu6", {"inplace": True})))


class UpLevel(nn.Module):
    """Narrowed, resized to the skip connection, joined with it, and twice convolved, depthwise and pointwise.

    Resizing comes after the 1x1 convolution, which is then a quarter of the work. Unlike a transposed convolution it
    leaves no checkerboard, and it is computed alike by every runtime.

    Args:
        in_channels: channels from below.
        skip_channels: channels of the skip connection.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.narrow = _unit(in_channels, out_channels)
        joined = out_channels + skip_channels
        self.convs = nn.Sequential(
            _unit(joined, joined, 3, groups=joined),
            _unit(joined, out_channels),
            _unit(out_channels, out_channels, 3, groups=out_channels),
            _unit(out_channels, out_channels),
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, in_channels, h, w) and ``skip`` (B, skip_channels, H, W) to (B, out_channels, H, W)."""
        x = interpolate(self.narrow(x), size=skip.shape[2:], mode="bilinear", align_corners=False)
        joined: torch.Tensor = self.convs(torch.cat([skip, x], dim=1))
        return joined


class EfficientLiteUNet(nn.Module):
    """U-Net whose encoder is EfficientNet-Lite, with a light decoder: 2,495,537 parameters with ``lite0``.

    The encoder: Tan M, Le QV. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019,
    https://doi.org/10.48550/arXiv.1905.11946, its Lite form. It may begin with the weights of ImageNet, see
    `networks.pretrained`. The image is normalised inside, as these weights want it. Logits are made at half the image's
    size and resized, as the masks of a light network are smooth at that scale.

    Args:
        spatial_dims: 2.
        in_channels: channels of the image 0-1, 3 for RGB, 1 for grey.
        out_channels: channels of the logits, 1 for lesion against background.
        encoder: ``"lite0"``, ``"lite1"`` or ``"lite2"``.
        decoder_channels: channels of each level of the decoder, from the bottom up.
        dropout: probability 0-1 of dropping a channel before the logits.

    Raises:
        WrongValueError: when ``spatial_dims`` is not 2 or ``decoder_channels`` are not four.
        UnknownNameError: when there is no such ``encoder``; the closest name is given.

    Example:
        >>> EfficientLiteUNet(in_channels=3, out_channels=1).eval()(torch.zeros(1, 3, 33, 47)).shape
        torch.Size([1, 1, 33, 47])
    """

    reference: ClassVar[str] = (
        "Tan M, Le QV. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019, "
        "https://doi.org/10.48550/arXiv.1905.11946"
    )
    trained_on_cpu_in: ClassVar[str] = "float32"  # with AMX, too, the way back takes 1.3 to 2 times as long in bfloat16

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        encoder: str = "lite0",
        decoder_channels: Sequence[int] = (128, 96, 64, 48),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise WrongValueError(
                f"spatial_dims is {spatial_dims}, EfficientLiteUNet takes images only; set 2, or use UNet"
            )
        if encoder not in LITES:
            raise UnknownNameError("encoder", encoder, LITES)
        if len(decoder_channels) != 4:
            raise WrongValueError(
                f"decoder_channels has {len(decoder_channels)} levels; set four, e.g. 128, 96, 64, 48"
            )
        self.smallest_size, self.divisor = 32, 1
        self.encoder = EfficientNetLite(encoder, in_channels)
        skips = self.encoder.channels[-2::-1]
        below = [self.encoder.channels[-1], *decoder_channels]
        self.decoder = nn.ModuleList(
            UpLevel(c_in, skip, c_out) for c_in, skip, c_out in zip(below, skips, decoder_channels, strict=False)
        )
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.out = nn.Conv2d(decoder_channels[-1], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raw logits.

        Args:
            x: image of shape ``(B, in_channels, H, W)``, values 0-1; any H and W of at least 32 pixels, odd ones too.

        Returns:
            logits of shape ``(B, out_channels, H, W)``.

        Raises:
            WrongValueError: when the image is smaller than 32 pixels.
        """
        check_size(x, self.smallest_size, self.divisor)
        *skips, deep = self.encoder((x * 255 - 127) / 128)
        for up, skip in zip(self.decoder, reversed(skips), strict=True):
            deep = up(deep, skip)
        logits = self.out(self.dropout(deep))
        return interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)
