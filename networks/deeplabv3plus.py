"""DeepLabV3+: an atrous encoder, pooling at several rates, and a small decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from monai.networks.nets import EfficientNetBNFeatures, resnet18, resnet34, resnet50
from torch import nn
from torch.nn.functional import interpolate

from ..errors import UnknownNameError, WrongValueError
from .blocks import Named
from .sizes import check_size

Unit = Callable[..., nn.Module]
"""``(in_channels, out_channels, kernel_size, rate)`` to a module that keeps the spatial size."""

Encoder = tuple[nn.Sequential, list[nn.Module]]
"""The layers down to a stride of 4, and the stages that go on to strides of 8, 16 and 32."""


def _replace(root: nn.Module, kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]) -> None:
    """Put ``make(module)`` in the place of every module of a kind."""
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kind):
                setattr(parent, name, make(child))


def _make_atrous(stage: nn.Module, rate: int) -> int:
    """Take the strides out of a stage and let its convolutions reach as far as before.

    Args:
        stage: changed in place; its convolutions are padded to keep the size.
        rate: the product of the strides taken out before this stage.

    Returns:
        the product of the strides taken out after this stage.
    """
    for conv in stage.modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        stride, conv.stride = conv.stride[0], (1, 1)
        if conv.kernel_size != (1, 1):
            conv.dilation = (rate, rate)
            conv.padding = tuple(rate * (k // 2) for k in conv.kernel_size)
            rate *= stride  # the one that was strided still sees the finer grid; a 1x1 is a shortcut beside it
    return rate


def _resnet(make: Callable[..., Any], in_channels: int) -> Encoder:
    net = make(
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        shortcut_type="B",  # MONAI's type A lets no gradient through the shortcut
        bias_downsample=False,
        feed_forward=False,
    )
    stem = nn.Sequential(net.conv1, net.bn1, net.act, net.maxpool, net.layer1)
    return stem, [net.layer2, net.layer3, net.layer4]


def _efficientnet(name: str, in_channels: int) -> Encoder:
    net = EfficientNetBNFeatures(name, pretrained=False, in_channels=in_channels)
    _replace(net, nn.ConstantPad2d, lambda _: nn.Identity())  # it is computed for images of 224 pixels alone
    for conv in net.modules():
        if isinstance(conv, nn.Conv2d):
            conv.padding = tuple(k // 2 for k in conv.kernel_size)
    blocks = net._blocks
    return nn.Sequential(net._conv_stem, net._bn0, net._swish, *blocks[:2]), [blocks[2], blocks[3:5], blocks[5:7]]


BACKBONES: dict[str, tuple[Callable[[int], Encoder], int, int]] = {
    "resnet18": (partial(_resnet, resnet18), 64, 512),
    "resnet34": (partial(_resnet, resnet34), 64, 512),
    "resnet50": (partial(_resnet, resnet50), 256, 2048),
    "efficientnet-b0": (partial(_efficientnet, "efficientnet-b0"), 24, 320),
}
"""What makes an encoder from the channels of the image, and its channels at a stride of 4 and at the end."""


def _conv_unit(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    rate: int = 1,
    groups: int = 1,
    *,
    act: Named,
    norm: Named,
) -> nn.Sequential:
    """Convolution, norm, activation; ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
    padding = rate * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=rate, groups=groups, bias=False),
        get_norm_layer(norm, spatial_dims=2, channels=out_channels),
        get_act_layer(act),
    )


def _separable_unit(
    in_channels: int, out_channels: int, kernel_size: int, rate: int = 1, *, act: Named, norm: Named
) -> nn.Sequential:
    """The same as a depthwise and a 1x1 convolution, each with norm and activation."""
    return nn.Sequential(
        _conv_unit(in_channels, in_channels, kernel_size, rate, groups=in_channels, act=act, norm=norm),
        _conv_unit(in_channels, out_channels, act=act, norm=norm),
    )


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``.

    A 1x1 convolution, one 3x3 convolution a rate, and the mean of the image beside each other, projected. The mean
    is one value a channel: its branch has a bias and no norm, which could not train on a batch of 1.

    Args:
        in_channels: channels of the input.
        out_channels: channels of each branch and of the output.
        rates: distance of the taps of the 3x3 convolutions, in pixels of the input.
        unit: makes the 1x1 convolutions, with norm and activation.
        atrous: makes the 3x3 convolutions, with norm and activation.
        act: activation of the mean.
        dropout: probability 0-1 of dropping a value of the output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        rates: Sequence[int],
        *,
        unit: Unit,
        atrous: Unit,
        act: Named,
        dropout: float,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([unit(in_channels, out_channels)])
        self.branches.extend(atrous(in_channels, out_channels, 3, rate) for rate in rates)
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, out_channels, 1), get_act_layer(act))
        self.project = nn.Sequential(unit((len(rates) + 2) * out_channels, out_channels), nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, in_channels, H, W) to (B, out_channels, H, W)."""
        branches = [branch(x) for branch in self.branches]
        branches.append(self.mean(x).expand(-1, -1, x.shape[2], x.shape[3]))
        projected: torch.Tensor = self.project(torch.cat(branches, dim=1))
        return projected


class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ with one of MONAI's encoders: 12,333,233 parameters with ResNet-18 at 3 channels in, 1 out.

    Based on: Chen LC et al. Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation. ECCV
    2018, https://doi.org/10.1007/978-3-030-01234-2_49. Unlike the paper, the encoder is a ResNet or an EfficientNet,
    not trained beforehand, and the branch of the image's mean has a bias in place of batch norm, so that a batch of 1
    trains.

    ResNet: He K et al. CVPR 2016, https://doi.org/10.1109/CVPR.2016.90, with projection shortcuts. EfficientNet:
    Tan M, Le QV. ICML 2019, https://doi.org/10.48550/arXiv.1905.11946, with convolutions padded alike on all
    sides.

    Args:
        spatial_dims: 2.
        in_channels: channels of the image, 3 for RGB, 1 for grey.
        out_channels: channels of the logits, 1 for lesion against background.
        backbone: the encoder: ``"resnet18"``, ``"resnet34"``, ``"resnet50"`` or ``"efficientnet-b0"``.
        output_stride: pixels of the image to one of the encoder's last map, 16 or 8. At 8 the atrous rates double;
            finer, and about three times the work.
        separable: whether the 3x3 convolutions of the atrous pyramid and the decoder are depthwise separable, as in
            the paper; plain ones where ``False``.
        act: activation of the atrous pyramid and the decoder, by name or ``(name, {arguments})``; the encoder keeps
            its own.
        norm: normalisation, the encoder's too, by name or ``(name, {arguments})``.
        dropout: probability 0-1 of dropping a value after the atrous pyramid; 0.1 as in the authors' code.

    Raises:
        WrongValueError: when ``spatial_dims`` is not 2, ``output_stride`` is neither 8 nor 16, or there is no such
            ``backbone``; the closest name is given.

    Example:
        >>> DeepLabV3Plus(in_channels=3, out_channels=1).eval()(torch.zeros(1, 3, 33, 47)).shape
        torch.Size([1, 1, 33, 47])
    """

    reference = (
        "Chen LC et al. Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation. ECCV 2018, "
        "https://doi.org/10.1007/978-3-030-01234-2_49"
    )

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        backbone: str = "resnet18",
        output_stride: int = 16,
        separable: bool = True,
        act: Named = ("relu", {"inplace": True}),
        norm: Named = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise WrongValueError(
                f"spatial_dims is {spatial_dims}, DeepLabV3Plus takes images only; set 2, or use UNet"
            )
        if output_stride not in (8, 16):
            raise WrongValueError(f"output_stride is {output_stride}; set 16, or 8 for a finer and slower encoder")
        if backbone not in BACKBONES:
            raise UnknownNameError("backbone", backbone, BACKBONES)
        make_encoder, low_channels, channels = BACKBONES[backbone]
        unit = partial(_conv_unit, act=act, norm=norm)
        atrous = partial(_separable_unit if separable else _conv_unit, act=act, norm=norm)
        rates = [rate * 16 // output_stride for rate in (6, 12, 18)]

        # two pixels a side at a stride of 16: batch norm of a batch of 1 needs more than one
        self.smallest_size, self.divisor = 32, 1
        self.low, stages = make_encoder(in_channels)
        rate = 1
        for stage in stages[output_stride // 8 :]:
            rate = _make_atrous(stage, rate)
        self.high = nn.Sequential(*stages)
        _replace(self, nn.BatchNorm2d, lambda bn: get_norm_layer(norm, spatial_dims=2, channels=bn.num_features))
        self.aspp = ASPP(channels, 256, rates, unit=unit, atrous=atrous, act=act, dropout=dropout)
        self.skip = unit(low_channels, 48)
        self.decoder = nn.Sequential(atrous(256 + 48, 256, 3), atrous(256, 256, 3))
        self.out = nn.Conv2d(256, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raw logits.

        Args:
            x: image of shape ``(B, in_channels, H, W)``; any H and W of at least 32 pixels, odd ones too.

        Returns:
            logits of shape ``(B, out_channels, H, W)``.

        Raises:
            WrongValueError: when the image is smaller than 32 pixels.
        """
        check_size(x, self.smallest_size, self.divisor)
        low = self.low(x)
        deep = interpolate(self.aspp(self.high(low)), size=low.shape[2:], mode="bilinear", align_corners=False)
        logits = self.out(self.decoder(torch.cat([deep, self.skip(low)], dim=1)))
        return interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)
