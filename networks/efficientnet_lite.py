"""EfficientNet-Lite: an encoder of inverted residuals without squeeze-and-excitation, made for small machines."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from monai.networks.layers.utils import get_act_layer
from torch import nn

_ACT = ("relu6", {"inplace": True})
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
"""Blocks, kernel, stride of the first block, expansion and channels of each stage; that of 320 channels is left out."""

LITES: dict[str, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""How much wider and deeper than ``lite0`` each is."""


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # as it was trained; 1e-5 changes the features by 28 %


def _conv(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Iterator[nn.Module]:
    """A convolution padded as TensorFlow's ``SAME`` pads an even size, and its norm.

    With a stride of 2 nothing is padded in front of 3x3 and one pixel of 5x5. Behind it is one more than TensorFlow
    has: that changes nothing where the size is even, and keeps the last row of an odd one.
    """
    before = (kernel - stride) // 2
    if stride == 2:
        yield nn.ZeroPad2d((before, before + 2, before, before + 2))
    yield nn.Conv2d(c_in, c_out, kernel, stride, 0 if stride == 2 else before, groups=groups, bias=False)
    yield _norm(c_out)


class InvertedResidual(nn.Module):
    """Expanded by a 1x1, filtered by a depthwise, projected by a 1x1 convolution; added to its input where it can be.

    ``(B, in_channels, H, W)`` to ``(B, out_channels, ceil(H / stride), ceil(W / stride))``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: pixels a side of the depthwise convolution.
        stride: 1 or 2.
        expansion: how many times more channels are filtered than come in.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        expand = [*_conv(in_channels, inner), get_act_layer(_ACT)] if expansion > 1 else []
        depthwise = [*_conv(inner, inner, kernel, stride, groups=inner), get_act_layer(_ACT)]
        self.convs = nn.Sequential(*expand, *depthwise, *_conv(inner, out_channels))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, in_channels, H, W) to (B, out_channels, H', W')."""
        projected: torch.Tensor = self.convs(x)
        return x + projected if self.residual else projected


class EfficientNetLite(nn.Module):
    """The features of an image at strides of 2, 4, 8, 16 and 32.

    Tan M, Le QV. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019,
    https://doi.org/10.48550/arXiv.1905.11946, in the Lite form of its authors (ReLU6, no squeeze-and-excitation),
    without the last stage and the classifier.

    Args:
        variant: ``"lite0"``, ``"lite1"`` or ``"lite2"``.
        in_channels: channels of the image.

    Attributes:
        channels: of each of the five features.
        pretrained: what its weights were trained with before; empty where nothing was.
    """

    def __init__(self, variant: str = "lite0", in_channels: int = 3) -> None:
        super().__init__()
        self.variant, self.in_channels, self.pretrained = variant, in_channels, ""
        wider, deeper = LITES[variant]
        self.stem = nn.Sequential(*_conv(in_channels, 32, 3, 2), get_act_layer(_ACT))
        stages, before = [], 32
        for index, (blocks, kernel, stride, expansion, channels) in enumerate(_STAGES):
            width, depth = _rounded(channels * wider), math.ceil(blocks * deeper) if index else blocks
            first = InvertedResidual(before, width, kernel, stride, expansion)
            rest = [InvertedResidual(width, width, kernel, 1, expansion) for _ in range(depth - 1)]
            stages.append(nn.Sequential(first, *rest))
            before = width
        # 80 and 112 channels are of one stride, so that stages 4 and 5 are one level
        self.levels = nn.ModuleList([*stages[:3], nn.Sequential(stages[3], stages[4]), stages[5]])
        widths = [_rounded(stage[-1] * wider) for stage in _STAGES]
        self.channels = [*widths[:3], *widths[4:]]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """``x`` (B, in_channels, H, W), normalised, to five features (B, C, H / stride, W / stride), rounded up."""
        x = self.stem(x)
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, not less than nine tenths of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
