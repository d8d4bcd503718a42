"""CMUNeXt: a U-Net of large depthwise kernels whose skip connections are fused in two groups."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.simplelayers import SkipConnection
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import nn

from ..errors import WrongValueError
from .blocks import Named, UpCat, plain_conv
from .encoder_decoder import EncoderDecoder


class _Units:
    """Makes the parts of the network; all map ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""

    def __init__(self, spatial_dims: int, act: Named, conv_act: Named, norm: Named) -> None:
        self.spatial_dims = spatial_dims
        self.act = partial(get_act_layer, act)
        self.conv_act = partial(get_act_layer, conv_act)
        self.norm = partial(get_norm_layer, norm, spatial_dims=spatial_dims)

    def conv(self, in_channels: int, out_channels: int) -> nn.Sequential:
        """3x3 convolution, norm, activation; the bias, idle before a batch norm, is in the paper's count."""
        conv = plain_conv(self.spatial_dims, in_channels, out_channels, bias=True)
        return nn.Sequential(conv, self.norm(channels=out_channels), self.conv_act())

    def unit(self, in_channels: int, out_channels: int, kernel_size: int = 1, groups: int = 1) -> nn.Sequential:
        """Convolution, activation and only then the norm, as in the authors' code."""
        make = Conv[Conv.CONV, self.spatial_dims]
        conv = make(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups)
        return nn.Sequential(conv, self.act(), self.norm(channels=out_channels))

    def inverted_bottleneck(self, in_channels: int, out_channels: int) -> nn.Sequential:
        """1x1 convolution to four times ``out_channels`` and 1x1 convolution back."""
        return nn.Sequential(self.unit(in_channels, 4 * out_channels), self.unit(4 * out_channels, out_channels))

    def large_kernel(self, channels: int, kernel_size: int) -> nn.Sequential:
        """Depthwise convolution with a shortcut, then the inverted bottleneck."""
        depthwise = self.unit(channels, channels, kernel_size, groups=channels)
        return nn.Sequential(SkipConnection(depthwise, mode="add"), self.inverted_bottleneck(channels, channels))

    def level(self, in_channels: int, out_channels: int, depth: int, kernel_size: int) -> nn.Sequential:
        """Large kernels at the width of the level above, then a 3x3 convolution to the width of this one."""
        return nn.Sequential(
            *(self.large_kernel(in_channels, kernel_size) for _ in range(depth)), self.conv(in_channels, out_channels)
        )

    def skip_fusion(self, below: int, skip: int) -> UpCat:
        """Up to the width of the skip connection; each is convolved by itself, then both are mixed."""
        mode = "bilinear" if self.spatial_dims == 2 else "trilinear"
        up = nn.Upsample(scale_factor=2, mode=mode, align_corners=False)
        fusion = nn.Sequential(self.unit(2 * skip, 2 * skip, 3, groups=2), self.inverted_bottleneck(2 * skip, skip))
        return UpCat(nn.Sequential(up, self.conv(below, skip)), fusion)


class CMUNeXt(EncoderDecoder):
    """CMUNeXt: 3,149,185 parameters at 3 channels in, 1 out.

    Based on: Tang F et al. CMUNeXt: An Efficient Medical Image Segmentation Network Based on Large Kernel and Skip
    Fusion. ISBI 2024, https://doi.org/10.1109/ISBI56570.2024.10635609, which gives 3.15 M. Unlike there, sizes need not
    be multiples of 16.

    The paper's smaller and larger networks::

        CMUNeXt(features=(8, 16, 32, 64, 128), depths=(1, 1, 1, 1, 1), kernel_sizes=(3, 3, 7, 7, 9))  # -S
        CMUNeXt(features=(32, 64, 128, 256, 512), depths=(1, 1, 1, 6, 3), kernel_sizes=(3, 3, 7, 7, 7))  # -L

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image, 3 for RGB, 1 for grey.
        out_channels: channels of the logits, 1 for lesion against background.
        features: channels of each level, from the full resolution down; each level halves the size.
        depths: how many large kernels, each with its inverted bottleneck, follow each other on each level.
        kernel_sizes: their side on each level in pixels, odd.
        act: activation of the large kernels, the inverted bottlenecks and the fusion, by name or
            ``(name, {arguments})``.
        conv_act: activation of the 3x3 convolutions of the stem, between the levels and on the way up.
        norm: normalisation, by name or ``(name, {arguments})``.

    Raises:
        WrongValueError: when there are fewer than two levels, ``features``, ``depths`` and ``kernel_sizes`` don't have
            one number a level, or a kernel size is even.

    Example:
        >>> CMUNeXt(in_channels=3, out_channels=1).eval()(torch.zeros(1, 3, 33, 47)).shape
        torch.Size([1, 1, 33, 47])
    """

    reference: ClassVar[str] = (
        "Tang F et al. CMUNeXt: An Efficient Medical Image Segmentation Network Based on Large Kernel and Skip Fusion. "
        "ISBI 2024, https://doi.org/10.1109/ISBI56570.2024.10635609"
    )

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        features: Sequence[int] = (16, 32, 128, 160, 256),
        depths: Sequence[int] = (1, 1, 1, 3, 1),
        kernel_sizes: Sequence[int] = (3, 3, 7, 7, 7),
        act: Named = "gelu",
        conv_act: Named = ("relu", {"inplace": True}),
        norm: Named = "batch",
    ) -> None:
        super().__init__()
        if len(features) < 2 or not len(features) == len(depths) == len(kernel_sizes):
            raise WrongValueError(
                f"features, depths and kernel_sizes have {len(features)}, {len(depths)} and {len(kernel_sizes)} "
                "level(s); give one number a level to each, for 2 levels or more"
            )
        if any(size % 2 == 0 for size in kernel_sizes):
            raise WrongValueError(
                f"kernel_sizes is {tuple(kernel_sizes)}, an even kernel shifts the image; set odd ones"
            )
        levels = list(features)
        make = _Units(spatial_dims, act, conv_act, norm)
        self.assemble(
            encoder=map(make.level, [levels[0], *levels], levels, depths, kernel_sizes),
            pool=Pool[Pool.MAX, spatial_dims](2),
            decoder=map(make.skip_fusion, levels[:0:-1], levels[-2::-1]),
            out=Conv[Conv.CONV, spatial_dims](levels[0], out_channels, 1),
            stem=make.conv(in_channels, levels[0]),
        )
