"""What stands in front of MONAI's own networks, so that they behave as ours."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from ..sizes import check_size


class MonaiNetwork(nn.Module):
    """Mixed in before MONAI's class: refuses by name the sizes that fail deep inside it.

    A side has at least two pixels at the bottom. One pixel there has no instance norm, no batch norm in training in a
    batch of one, and no graph that fits larger images, too.
    """

    reference: ClassVar[str]
    dynamic_export: ClassVar[bool] = True
    """Whether ``torch.export`` makes one graph for all valid sizes; for any batch it always does."""
    smallest_size: int
    divisor: int

    def check(self, x: torch.Tensor) -> None:
        """Refuse an image whose sides the network can't take.

        Raises:
            WrongValueError: naming the next size that is valid.
        """
        check_size(x, self.smallest_size, self.divisor)

    def forward(self, x: torch.Tensor) -> Any:
        """Raw logits ``(B, out_channels, H, W)`` of the image ``(B, in_channels, H, W)``.

        Raises:
            WrongValueError: when the network can't take this H and W; the next valid size is given.
        """
        self.check(x)
        return super().forward(x)
