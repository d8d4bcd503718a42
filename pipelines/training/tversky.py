"""The focal Tversky loss."""

from __future__ import annotations

from typing import Any

import torch
from monai.losses import TverskyLoss


class FocalTverskyLoss(TverskyLoss):
    """Tversky loss of each image and channel, to the power of ``1 / gamma``, which weighs the badly outlined ones.

    Abraham N, Khan NM. A Novel Focal Tversky Loss Function With Improved Attention U-Net for Lesion Segmentation.
    ISBI 2019, https://doi.org/10.1109/ISBI.2019.8759329. Defaults are theirs: a missed pixel counts more than a false
    one, and ``gamma`` is 4/3.

    Args:
        gamma: 1 for the Tversky loss itself; greater: the easy ones count less beside the hard ones.
        alpha: weight of false pixels.
        beta: weight of missed pixels.
        kwargs: further arguments of MONAI's ``TverskyLoss``, but ``reduction``.
    """

    def __init__(self, gamma: float = 4 / 3, alpha: float = 0.3, beta: float = 0.7, **kwargs: Any) -> None:
        super().__init__(alpha=alpha, beta=beta, reduction="none", **kwargs)
        self.gamma = gamma

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Mean over images and channels.

        Args:
            input: logits, (B, C, H, W).
            target: masks 0/1 of the same shape.
        """
        each: torch.Tensor = super().forward(input, target)
        return (each + 1e-7).pow(1 / self.gamma).mean()  # at 0 the slope of a root is infinite
