"""The one encoder-decoder that the U-Nets here are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import nn

from .blocks import UpCat
from .sizes import check_size


class EncoderDecoder(nn.Module):
    """Levels that are halved on the way down, doubled and joined with their skip connections on the way up.

    A network says what stands where, by :meth:`assemble`.

    Attributes:
        reference: where it was published.
        smallest_size: pixels a side of the smallest image; one is left of it at the bottom.
        divisor: a side has ``smallest_size`` pixels plus a multiple of this; 1: any size.
    """

    reference: ClassVar[str]

    def assemble(
        self,
        encoder: Iterable[nn.Module],
        pool: nn.Module,
        decoder: Iterable[UpCat],
        out: nn.Module,
        stem: nn.Module | None = None,
    ) -> None:
        """Put the parts in their places.

        Args:
            encoder: the block of each level, from the full resolution down.
            pool: halves an image before each level but the first.
            decoder: what doubles and joins, from the bottom up; one less than the encoder has.
            out: makes the logits.
            stem: comes before everything.
        """
        self.stem = nn.Identity() if stem is None else stem
        self.pool = pool
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.out = out
        self.smallest_size, self.divisor = 2 ** len(self.decoder), 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raw logits.

        Args:
            x: image of shape ``(B, in_channels, H, W)``; any H and W of at least ``smallest_size`` pixels (16 with five
                levels), odd ones too.

        Returns:
            logits of shape ``(B, out_channels, H, W)``.

        Raises:
            WrongValueError: when the image is smaller.
        """
        check_size(x, self.smallest_size, self.divisor)
        return self.encode_decode(x)

    def encode_decode(self, x: torch.Tensor) -> torch.Tensor:
        """:meth:`forward` without looking at the size."""
        x = self.stem(x)
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.encoder):
            if level > 0:
                skips.append(x)
                x = self.pool(x)
            x = block(x)
        for up in self.decoder:
            x = up(x, skips.pop())
        logits: torch.Tensor = self.out(x)
        return logits
