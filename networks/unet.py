"""The U-Net, whose blocks its variants change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from monai.networks.layers.factories import Conv, Pool
from torch import nn

from ..errors import WrongValueError
from .blocks import Convolution, Named, TwoConv, UpCat, plain_conv
from .encoder_decoder import EncoderDecoder


class UNet(EncoderDecoder):
    """U-Net with batch norm and padded convolutions.

    Based on: Ronneberger O, Fischer P, Brox T. U-Net: Convolutional Networks for Biomedical Image Segmentation.
    MICCAI 2015, https://doi.org/10.1007/978-3-319-24574-4_28. Unlike the paper, convolutions are padded, so that the
    output has the size of the input, and each is followed by batch norm.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image, 3 for RGB, 1 for grey.
        out_channels: channels of the logits, 1 for lesion against background.
        features: channels of each level, from the full resolution down; each level halves the size. 64 to 1024 in
            five levels where ``None``.
        act: activation, by name or ``(name, {arguments})``.
        norm: normalisation, by name or ``(name, {arguments})``; none where ``None``.
        dropout: probability 0-1 of dropping a channel after each activation.
        bias: whether the convolutions of the blocks have a bias.
        upsample: ``"deconv"`` (transposed convolution that halves the channels) or ``"nontrainable"`` (bilinear,
            with the bottom and the decoder at half width).

    Raises:
        WrongValueError: when ``features`` has fewer than two levels or ``upsample`` is unknown.

    Example:
        >>> UNet(in_channels=3, out_channels=1, features=(8, 16, 32))(torch.zeros(1, 3, 33, 47)).shape
        torch.Size([1, 1, 33, 47])
    """

    reference: ClassVar[str] = (
        "Ronneberger O, Fischer P, Brox T. U-Net: Convolutional Networks for Biomedical Image Segmentation. "
        "MICCAI 2015, https://doi.org/10.1007/978-3-319-24574-4_28"
    )
    first_conv: Convolution = staticmethod(plain_conv)
    conv: Convolution = staticmethod(plain_conv)
    up_cat: type[UpCat] = UpCat
    default_features: Sequence[int] = (64, 128, 256, 512, 1024)

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
    ) -> None:
        super().__init__()
        features = self.default_features if features is None else features
        if len(features) < 2:
            raise WrongValueError(f"features has {len(features)} level(s), a U-Net needs 2 or more; e.g. (16, 32, 64)")
        if upsample not in ("deconv", "nontrainable"):
            raise WrongValueError(f"upsample is {upsample!r}; set 'deconv' or 'nontrainable' (bilinear)")
        levels = list(features)
        if upsample == "nontrainable":
            levels[-1] //= 2
        self.spatial_dims = spatial_dims
        self.two_conv = partial(TwoConv, spatial_dims, act=act, norm=norm, dropout=dropout, bias=bias)
        encoder = [
            self.block(c_in, c_out, conv=self.conv if level else self.first_conv, skipped=level < len(levels) - 1)
            for level, (c_in, c_out) in enumerate(zip([in_channels, *levels], levels, strict=False))
        ]
        decoder = self.up_levels(levels, upsample)
        out = Conv[Conv.CONV, spatial_dims](features[0], out_channels, 1)
        self.assemble(encoder, Pool[Pool.MAX, spatial_dims](2), decoder, out)

    def block(
        self, in_channels: int, out_channels: int, mid_channels: int | None = None, *, conv: Convolution, skipped: bool
    ) -> nn.Module:
        """What stands at each level.

        Args:
            in_channels: channels of its input.
            out_channels: channels of its output.
            mid_channels: channels between its two convolutions; ``out_channels`` where ``None``.
            conv: makes each convolution.
            skipped: whether its output goes into a skip connection.
        """
        convs = self.two_conv(in_channels, out_channels, mid_channels, conv=conv)
        attention = self.attention(out_channels, skipped)
        return nn.Sequential(convs, *attention) if attention else convs

    def attention(self, channels: int, skipped: bool) -> list[nn.Module]:
        """What follows the two convolutions of a block with ``channels`` channels: here nothing."""
        return []

    def up_levels(self, levels: list[int], upsample: str) -> list[UpCat]:
        """The decoder, from the bottom up."""
        ups, channels = [], levels[-1]
        for i in range(len(levels) - 2, -1, -1):
            skip = levels[i]
            if upsample == "deconv":
                up = Conv[Conv.CONVTRANS, self.spatial_dims](channels, skip, 2, stride=2)
                convs = self.block(2 * skip, skip, conv=self.conv, skipped=False)
                channels = skip
            else:
                mode = "bilinear" if self.spatial_dims == 2 else "trilinear"
                up = nn.Upsample(scale_factor=2, mode=mode, align_corners=True)
                out = skip // 2 if i else skip
                convs = self.block(channels + skip, out, (channels + skip) // 2, conv=self.conv, skipped=False)
                channels = out
            ups.append(self.up_cat(up, convs))
        return ups
