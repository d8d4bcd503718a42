"""The boundary loss, beside Dice and cross entropy."""

from __future__ import annotations

from typing import Any

import torch
from monai.losses import DiceCELoss
from monai.transforms.utils import distance_transform_edt


class DiceCEBoundaryLoss(DiceCELoss):
    """Dice and cross entropy, and how far from the reference's boundary the probabilities differ from the reference.

    Kervadec H, Bouchtiba J, Desrosiers C, Granger E, Dolz J, Ben Ayed I. Boundary loss for highly unbalanced
    segmentation. Med Image Anal 2021, https://doi.org/10.1016/j.media.2020.101851. Theirs lacks the constant that makes
    it 0 for the reference itself; gradients are the same. Distances are shares of the image's longer side, so that the
    weight does not depend on the grid: 1.92 is their 0.01 a pixel at 192 pixels.

    Args:
        sigmoid: whether channels are problems of their own.
        softmax: whether channels exclude each other.
        boundary_weight: of the boundary's part.
        kwargs: further arguments of MONAI's ``DiceCELoss``.
    """

    def __init__(
        self, sigmoid: bool = False, softmax: bool = False, boundary_weight: float = 2.0, **kwargs: Any
    ) -> None:
        super().__init__(sigmoid=sigmoid, softmax=softmax, **kwargs)
        self.softmax, self.boundary_weight = softmax, boundary_weight

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """The sum of the parts.

        Args:
            input: logits, (B, C, H, W).
            target: masks 0/1 of the same shape.
        """
        probability = input.softmax(1) if self.softmax else input.sigmoid()
        wrong = distances(target) / max(target.shape[2:]) * (probability - target).abs()
        return torch.as_tensor(super().forward(input, target)) + self.boundary_weight * wrong.mean()


def distances(masks: torch.Tensor) -> torch.Tensor:
    """How far each pixel is from the boundary of its mask, in pixels.

    Args:
        masks: 0/1, (B, C, H, W).

    Returns:
        (B, C, H, W), float32: 0.5 beside the boundary; 0 where a mask is empty or full and has none.
    """
    planes = masks.detach().flatten(0, 1)
    inside, outside = (
        torch.as_tensor(distance_transform_edt(one)).to(planes.device) for one in (planes > 0, planes <= 0)
    )
    has_boundary = (planes > 0).flatten(1).any(1) & (planes <= 0).flatten(1).any(1)
    return ((inside + outside - 0.5) * has_boundary[:, None, None]).float().reshape(masks.shape)
