from __future__ import annotations

import pytest
import torch
from monai.losses import TverskyLoss

from delineate.pipelines.training.tversky import FocalTverskyLoss


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(3, 2, 9, 7, generator=draw), torch.rand(3, 2, 9, 7, generator=draw).round()


def test_it_is_what_the_publication_says() -> None:
    logits, masks = drawn()
    expected = []
    for image, reference in zip(logits.sigmoid().flatten(0, 1).double(), masks.flatten(0, 1).double(), strict=True):
        hit = float((image * reference).sum())
        missed, false = float(((1 - image) * reference).sum()), float((image * (1 - reference)).sum())
        expected.append((1 - hit / (hit + 0.7 * missed + 0.3 * false)) ** 0.75)
    assert FocalTverskyLoss(sigmoid=True)(logits, masks).item() == pytest.approx(sum(expected) / 6, rel=1e-4)


def test_with_gamma_1_it_is_the_tversky_loss() -> None:
    logits, masks = drawn(1)
    expected = TverskyLoss(softmax=True, alpha=0.3, beta=0.7)(logits, masks)
    torch.testing.assert_close(FocalTverskyLoss(gamma=1, softmax=True)(logits, masks), expected)


def test_a_missed_pixel_costs_more_than_a_false_one() -> None:
    reference = torch.zeros(1, 1, 8, 8)
    reference[..., 2:6, 2:6] = 1
    missing, more = reference.clone(), reference.clone()
    missing[..., 2, 2:6], more[..., 1, 2:6] = 0, 1
    loss = FocalTverskyLoss(sigmoid=True)
    assert loss(40 * missing - 20, reference) > loss(40 * more - 20, reference)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_perfect_answer_has_a_finite_slope(value: float) -> None:
    reference = torch.full((2, 1, 8, 8), value)
    logits = (200 * reference - 100).requires_grad_()
    FocalTverskyLoss(sigmoid=True)(logits, reference).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
