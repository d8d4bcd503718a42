from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss, FocalLoss, TverskyLoss
from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss

from delineate.pipelines.bundling.bundles import part_file
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.training.boundary import DiceCEBoundaryLoss
from delineate.pipelines.training.losses import StructureLoss
from delineate.pipelines.training.tversky import FocalTverskyLoss

BINARY = [
    *(BCEWithLogitsLoss(), DiceLoss(sigmoid=True), DiceCELoss(sigmoid=True), FocalLoss(), TverskyLoss(sigmoid=True)),
    *(FocalTverskyLoss(sigmoid=True), DiceCEBoundaryLoss(sigmoid=True)),
]
SOFTMAX = [
    *(CrossEntropyLoss(), DiceLoss(softmax=True), DiceCELoss(softmax=True), FocalLoss(use_softmax=True)),
    *(FocalTverskyLoss(softmax=True), DiceCEBoundaryLoss(softmax=True)),
]


def batch(images: int, structures: int, exclusive: bool = False, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and planes, (B, S or S + 1, 8, 6) and (B, S, 8, 6)."""
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, structures + exclusive, 8, 6, generator=draw)
    if not exclusive:
        return logits, torch.rand(images, structures, 8, 6, generator=draw).round()
    where = torch.randint(0, structures + 1, (images, 8, 6), generator=draw)
    return logits, one_hot(where, structures + 1)[:, 1:]


def one_hot(where: torch.Tensor, channels: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(where, channels).movedim(-1, 1).float()


def without(label: torch.Tensor, *planes: tuple[int, int]) -> torch.Tensor:
    """The label without an annotation of these (image, structure)."""
    label = label.clone()
    for image, structure in planes:
        label[image, structure] = 255
    return label


# --- structures that may overlap -----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", BINARY, ids=lambda loss: type(loss).__name__)
def test_of_one_structure_it_is_the_loss_itself(loss: torch.nn.Module) -> None:
    logits, label = (one.to(memory_format=torch.channels_last) for one in batch(3, 1))
    seen = []
    loss.register_forward_pre_hook(lambda _, given: seen.append(given))
    found = StructureLoss(loss)(logits, label)
    assert seen[-1][0] is logits
    assert seen[-1][1] is label
    assert torch.equal(found, loss(logits, label))


@pytest.mark.parametrize("loss", BINARY, ids=lambda loss: type(loss).__name__)
def test_each_plane_is_a_binary_problem(loss: torch.nn.Module) -> None:
    logits, label = batch(3, 4)
    alone = [loss(logits[:, s : s + 1], label[:, s : s + 1]) for s in range(4)]
    assert StructureLoss(loss)(logits, label).item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)


@pytest.mark.parametrize("loss", [BCEWithLogitsLoss(), DiceLoss(sigmoid=True)], ids=["bce", "dice"])
def test_where_all_is_annotated_it_is_the_loss_of_all_channels(loss: torch.nn.Module) -> None:
    logits, label = batch(3, 4)
    assert StructureLoss(loss)(logits, label).item() == pytest.approx(loss(logits, label).item(), rel=1e-5)


@pytest.mark.parametrize("exclusive", [False, True])
def test_what_nobody_annotated_does_not_count(exclusive: bool) -> None:
    logits, label = batch(2, 3, exclusive)
    loss = StructureLoss((SOFTMAX if exclusive else BINARY)[2], exclusive)
    assert loss(logits, without(label, *((1, s) for s in range(3)))).item() == pytest.approx(
        loss(logits[:1], label[:1]).item()
    )


@pytest.mark.parametrize("exclusive", [False, True])
def test_only_what_is_annotated_has_a_gradient(exclusive: bool) -> None:
    logits, label = batch(2, 3, exclusive)
    logits.requires_grad_()
    StructureLoss((SOFTMAX if exclusive else BINARY)[2], exclusive)(
        logits, without(label, *((1, s) for s in range(3)))
    ).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1].abs().sum() == 0


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_batch_without_any_annotation_gives_zero_and_can_be_trained_on(exclusive: bool) -> None:
    logits, label = batch(2, 3, exclusive)
    logits.requires_grad_()
    loss = StructureLoss((SOFTMAX if exclusive else BINARY)[0], exclusive)(logits, torch.full_like(label, 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


# --- exclusive structures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", SOFTMAX, ids=lambda loss: type(loss).__name__)
def test_exclusive_and_annotated_it_is_the_loss_of_one_hot_references(loss: torch.nn.Module) -> None:
    logits, label = batch(3, 2, exclusive=True)
    reference = torch.cat([1 - label.sum(1, keepdim=True), label], 1)
    assert torch.equal(StructureLoss(loss, exclusive=True)(logits, label), loss(logits, reference))


def test_a_structure_without_annotation_is_part_of_the_background() -> None:
    logits, label = batch(1, 3, exclusive=True)
    shares = logits.softmax(1)
    merged = torch.stack([shares[:, 0] + shares[:, 2], shares[:, 1], shares[:, 3]], 1)
    where = (label[:, 0] + 2 * label[:, 2]).long()  # what is of structure 1 in truth stands as background
    expected = torch.nn.functional.nll_loss(merged.log(), where)
    loss = StructureLoss(CrossEntropyLoss(), exclusive=True)(logits, without(label, (0, 1)))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_images_count_alike_whatever_is_annotated_in_them() -> None:
    logits, label = batch(4, 2, exclusive=True)
    label, loss = without(label, (0, 0), (2, 1)), StructureLoss(DiceCELoss(softmax=True), exclusive=True)
    alone = [loss(logits[i : i + 1], label[i : i + 1]) for i in range(4)]
    assert loss(logits, label).item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)


def test_where_the_missing_structure_lies_makes_no_difference() -> None:
    """Probability moved between background and what is not annotated changes nothing."""
    logits, label = batch(1, 2, exclusive=True)
    swapped = logits[:, [1, 0, 2]]
    loss, label = StructureLoss(CrossEntropyLoss(), exclusive=True), without(label, (0, 0))
    assert loss(logits, label).item() == pytest.approx(loss(swapped, label).item(), rel=1e-6)


def test_a_pixel_on_which_two_structures_meet_is_of_the_first() -> None:
    logits, label = batch(1, 2, exclusive=True)
    met, first = label.clone(), label.clone()
    met[..., 0, :2] = 1
    first[..., 0, :2] = torch.tensor([1.0, 0.0])[None, :, None]
    for loss in SOFTMAX:
        assert torch.equal(*(StructureLoss(loss, exclusive=True)(logits, one) for one in (met, first)))


# --- both ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_gradient_is_that_of_finite_differences(exclusive: bool) -> None:
    logits, label = batch(2, 2, exclusive)
    loss = StructureLoss(DiceCELoss(softmax=exclusive, sigmoid=not exclusive), exclusive)
    label = without(label, (1, 0)).double()[:, :, :3, :3]
    logits = logits.double()[:, :, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda given: loss(given, label), (logits,))


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_loss_is_finite_and_the_order_of_images_does_not_matter(
    missing: list[bool], exclusive: bool, seed: int
) -> None:
    logits, label = batch(3, 2, exclusive, seed)
    label = without(label, *((i // 2, i % 2) for i, gone in enumerate(missing) if gone))
    loss = StructureLoss(DiceCELoss(softmax=exclusive, sigmoid=not exclusive), exclusive)
    found, turned = loss(logits, label), loss(logits.flip(0), label.flip(0))
    assert torch.isfinite(found)
    assert found.item() == pytest.approx(turned.item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_deep_supervision_keeps_what_is_not_annotated(dtype: torch.dtype) -> None:
    logits, label = batch(2, 2)
    small = torch.nn.functional.avg_pool2d(logits, 2)
    label = without(label, (0, 1)).to(dtype)
    loss = DeepSupervisionLoss(StructureLoss(DiceCELoss(sigmoid=True)))
    other = logits.clone()
    other[0, 1] += 3
    small_other = torch.nn.functional.avg_pool2d(other, 2)
    assert torch.equal(loss([logits, small], label), loss([other, small_other], label))


@pytest.mark.parametrize(
    ("loss", "exclusive"),
    [
        *((loss, False) for loss in SOFTMAX),
        *((loss, True) for loss in BINARY),
        (DiceLoss(), False),
        (DiceCELoss(sigmoid=True, to_onehot_y=True), True),
    ],
    ids=lambda given: str(given) if isinstance(given, bool) else type(given).__name__,
)
def test_a_loss_that_does_not_fit_is_refused_by_name(loss: torch.nn.Module, exclusive: bool) -> None:
    logits, label = batch(2, 2, exclusive)
    kind = "are exclusive" if exclusive else "may overlap"
    with pytest.raises(DelineateError, match=rf"the loss {type(loss).__name__} is not for structures that {kind}"):
        StructureLoss(loss, exclusive)(logits, label)


def test_other_channels_than_structures_are_refused() -> None:
    logits, label = batch(2, 3)
    with pytest.raises(DelineateError, match="the network has 3 channels for 2 structures; set out_channels"):
        StructureLoss(BCEWithLogitsLoss())(logits, label[:, :2])


def overlay(name: str, exclusive: bool) -> Any:
    parser = ConfigParser()
    parser.read_config(str(part_file("losses", name)))
    parser["exclusive"] = exclusive
    return parser.get_parsed_content("loss")


@pytest.mark.parametrize(
    ("name", "exclusive"),
    [("bce", False), ("dice", False), ("dice_bce", False), ("ce", True), ("dice", True), ("dice_bce", True)],
)
def test_an_overlay_judges_right_better_than_wrong(name: str, exclusive: bool) -> None:
    logits, label = batch(2, 3, exclusive)
    planes = torch.cat([1 - label.sum(1, keepdim=True), label], 1) if exclusive else label
    right = 10 * (2 * planes - 1)
    loss = overlay(name, exclusive)
    assert loss(right, label) < 0.01 < loss(logits, label) < loss(-right, label)


@pytest.mark.parametrize(("name", "exclusive"), [("ce", False), ("bce", True)])
def test_an_overlay_for_other_structures_is_refused(name: str, exclusive: bool) -> None:
    with pytest.raises(DelineateError, match="use --loss"):
        overlay(name, exclusive)(*batch(2, 3, exclusive))
