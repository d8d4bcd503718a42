from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from scipy.ndimage import distance_transform_edt

from delineate.pipelines.training.boundary import DiceCEBoundaryLoss, distances


def disc(row: float = 8, column: float = 10, radius: float = 5) -> torch.Tensor:
    """(1, 1, 16, 24)."""
    y, x = torch.meshgrid(torch.arange(16), torch.arange(24), indexing="ij")
    return (((y - row) ** 2 + (x - column) ** 2) < radius**2).float()[None, None]


def test_distances_are_to_the_nearest_pixel_of_the_other_kind_less_a_half() -> None:
    mask = disc()
    found, plane = distances(mask)[0, 0], mask[0, 0].numpy()
    for y, x in itertools.product(range(16), range(24)):
        others = np.argwhere(plane != plane[y, x])
        assert found[y, x].item() == pytest.approx(np.hypot(*(others - (y, x)).T).min() - 0.5, rel=1e-5)


def test_each_plane_has_its_own_distances_and_an_empty_or_full_one_none() -> None:
    masks = torch.cat([disc(), disc(5, 5), torch.zeros(1, 1, 16, 24), torch.ones(1, 1, 16, 24)]).reshape(2, 2, 16, 24)
    found = distances(masks)
    assert torch.equal(found[0, 1], distances(disc(5, 5))[0, 0])
    assert found[1].abs().max() == 0


def test_it_adds_the_boundary_loss_of_the_publication_up_to_its_constant() -> None:
    """Theirs: the mean of probability times signed distance, negative inside."""
    reference = torch.cat([disc(), disc(9, 14, 4)])
    logits = 2 * torch.randn(2, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    added = DiceCEBoundaryLoss(sigmoid=True, boundary_weight=3)(logits, reference) - DiceCELoss(sigmoid=True)(
        logits, reference
    )
    planes = reference[:, 0].numpy().astype(bool)
    signed = np.stack([np.where(p, 0.5 - distance_transform_edt(p), distance_transform_edt(~p) - 0.5) for p in planes])
    theirs = (signed * logits.sigmoid()[:, 0].numpy()).mean() - (signed * planes).mean()
    assert added.item() == pytest.approx(3 * theirs / 24, rel=1e-4)


def test_a_far_error_costs_more_than_a_near_one_of_the_same_size() -> None:
    reference, near, far = disc(), disc(), disc()
    near[..., 8, 16], far[..., 8, 22] = 1, 1
    loss = DiceCEBoundaryLoss(sigmoid=True)
    assert loss(20 * far - 10, reference) > loss(20 * near - 10, reference)
    plain = DiceCELoss(sigmoid=True)
    torch.testing.assert_close(plain(20 * far - 10, reference), plain(20 * near - 10, reference))


def test_it_does_not_depend_on_the_grid() -> None:
    def boundary(scale: int) -> float:
        big = [torch.kron(one, torch.ones(scale, scale)) for one in (disc(), disc(8, 12))]
        loss, plain = DiceCEBoundaryLoss(sigmoid=True), DiceCELoss(sigmoid=True)
        return float(loss(40 * big[1] - 20, big[0]) - plain(40 * big[1] - 20, big[0]))

    assert boundary(4) == pytest.approx(boundary(8), rel=0.1)


def test_without_weight_it_is_dice_and_cross_entropy() -> None:
    logits = torch.randn(1, 1, 16, 24, generator=torch.Generator().manual_seed(1))
    found = DiceCEBoundaryLoss(sigmoid=True, boundary_weight=0)(logits, disc())
    assert torch.equal(found, DiceCELoss(sigmoid=True)(logits, disc()))
