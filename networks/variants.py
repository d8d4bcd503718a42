"""The U-Net with other blocks: each variant is :class:`UNet` but for what it says here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import nn

from .attention import SpatialAttention, SqueezeExcitation
from .blocks import Named, UpCropCat, separable_conv, valid_conv
from .sizes import check_size, crop_centre, mirror_pad, next_size
from .unet import UNet


class DepthwiseUNet(UNet):
    """U-Net of depthwise separable convolutions: 5,988,252 parameters at 3 channels in, 1 out.

    Each 3x3 convolution becomes a depthwise 3x3 and a pointwise 1x1.
    """

    reference: ClassVar[str] = (
        "Chollet F. Xception: Deep Learning with Depthwise Separable Convolutions. CVPR 2017, "
        "https://doi.org/10.1109/CVPR.2017.195"
    )
    first_conv = conv = staticmethod(separable_conv)


class UltraLightUNet(UNet):
    """U-Net of depthwise and grouped pointwise convolutions: 239,676 parameters at 3 channels in, 1 out.

    Each 3x3 convolution becomes a depthwise 3x3 and a pointwise 1x1 in 4 groups (one group in the first block); the
    transposed convolutions stay ungrouped. ``features`` go from 16 to 256 by default; each is a multiple of 4 and, with
    ``"nontrainable"``, twice the one above it or a multiple of 16.
    """

    reference: ClassVar[str] = (
        "Zhang X et al. ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices. CVPR 2018, "
        "https://doi.org/10.1109/CVPR.2018.00716"
    )
    first_conv = staticmethod(separable_conv)
    conv = staticmethod(partial(separable_conv, groups=4))
    default_features = (16, 32, 64, 128, 256)


class SEUNet(UNet):
    """U-Net with squeeze-and-excitation after every block: 31,255,745 parameters at 3 channels in, 1 out.

    Args: as :class:`UNet`, and

        reduction: channels of a block over the width of the hidden layer of its squeeze-and-excitation.
    """

    reference: ClassVar[str] = (
        "Hu J, Shen L, Sun G. Squeeze-and-Excitation Networks. CVPR 2018, https://doi.org/10.1109/CVPR.2018.00745"
    )

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        features: Sequence[int] | None = None,
        act: Named = ("relu", {"inplace": True}),
        norm: Named | None = "batch",
        dropout: float = 0.0,
        bias: bool = False,
        upsample: str = "deconv",
        reduction: int = 16,
    ) -> None:
        self.reduction = reduction
        super().__init__(spatial_dims, in_channels, out_channels, features, act, norm, dropout, bias, upsample)

    def attention(self, channels: int, skipped: bool) -> list[nn.Module]:
        """Squeeze-and-excitation."""
        return [SqueezeExcitation(channels, self.reduction)]


class SEDepthwiseUNet(SEUNet):
    """Both: depthwise separable convolutions and squeeze-and-excitation; 6,206,364 parameters at 3 channels in, 1 out.

    6,097,308 with ``reduction=32``; 2,061,404 with ``upsample="nontrainable"``. Args: as :class:`SEUNet`.
    """

    first_conv = conv = staticmethod(separable_conv)


class SpatialAttentionUNet(SEDepthwiseUNet):
    """:class:`SEDepthwiseUNet` with spatial attention: 6,206,756 parameters at 3 channels in, 1 out.

    The outputs of all encoder levels but the bottom are weighed, on their way down as in their skip connections.
    """

    reference: ClassVar[str] = (
        "Woo S et al. CBAM: Convolutional Block Attention Module. ECCV 2018, https://doi.org/10.1007/978-3-030-01234-2_1"
    )

    def attention(self, channels: int, skipped: bool) -> list[nn.Module]:
        """Squeeze-and-excitation; spatial attention where the output is skipped to the decoder."""
        spatial = [SpatialAttention(self.spatial_dims)] if skipped else []
        return super().attention(channels, skipped) + spatial


class ClassicUNet(UNet):
    """U-Net as published: convolutions without padding and norm, cropped skips; 31,030,593 parameters at 1 in, 1 out.

    The logits are smaller than the image by ``margin`` pixels, 184 with five levels: 572x572 in gives 388x388,
    252x252 gives 68x68.

    Args: as :class:`UNet`, with ``norm`` and ``bias`` as in the paper, and

        mirror: continue the image by its mirror image, as the paper does at the borders, so that the logits cover
            all of it: any size in, the same size out.

    Raises:
        WrongValueError: as :class:`UNet`.
    """

    conv = first_conv = staticmethod(valid_conv)
    up_cat = UpCropCat

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        features: Sequence[int] | None = None,
        act: Named = ("relu", {"inplace": True}),
        norm: Named | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        upsample: str = "deconv",
        mirror: bool = False,
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, features, act, norm, dropout, bias, upsample)
        self._start_as_published()
        scale = self.smallest_size
        bottom = 4 - (3 - 4 * scale) // scale  # the smallest image there that leaves a pixel of logits
        self.margin = 12 * scale - 8
        self._smallest, self._scale = scale * (bottom + 4) - 4, scale
        self.smallest_size, self.divisor = (1, 1) if mirror else (self._smallest, scale)
        self.mirror = mirror

    def _start_as_published(self) -> None:
        """Weights from a Gaussian of variance 2 over the inputs of a unit: with no norm, torch's own would fade out."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "upsample" in name:  # each output of a 2x2 transposed convolution has one input a channel
                nn.init.normal_(parameter, std=(2 / parameter.shape[0]) ** 0.5)
            else:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raw logits.

        Args:
            x: image of shape ``(B, in_channels, H, W)``; H and W of ``smallest_size`` (188 with five levels) plus a
                multiple of ``divisor`` (16); any with ``mirror``.

        Returns:
            logits of shape ``(B, out_channels, H - margin, W - margin)``; with ``mirror`` ``(B, out_channels, H, W)``.

        Raises:
            WrongValueError: when the size is another; the next valid one is given.
        """
        check_size(x, self.smallest_size, self.divisor)
        if not self.mirror:
            return self.encode_decode(x)
        total = [next_size(n + self.margin, self._smallest, self._scale) - n for n in x.shape[2:]]
        return crop_centre(self.encode_decode(mirror_pad(x, total)), x)
