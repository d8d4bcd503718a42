"""Test-time augmentation: the mean over the views that training showed, and no others."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from torch import nn

from delineate.networks import UltraLightUNet
from delineate.pipelines.core.errors import WrongValueError
from delineate.pipelines.inference.inferer import PrecisionInferer
from delineate.pipelines.inference.views import View, views_of

Turn = Callable[[torch.Tensor], torch.Tensor]

FLIPS: list[Turn] = [lambda x: x, lambda x: x.flip(3), lambda x: x.flip(2), lambda x: x.flip(2, 3)]
ROTATIONS: list[Turn] = [lambda x, k=k: torch.rot90(x, k, (2, 3)) for k in range(4)]  # type: ignore[misc]
BACK: dict[str, list[Turn]] = {
    "flips": FLIPS,
    "rotations": [lambda x, k=k: torch.rot90(x, -k, (2, 3)) for k in range(4)],  # type: ignore[misc]
}
SHOWN = {"flips": FLIPS, "rotations": ROTATIONS}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return UltraLightUNet(in_channels=2, out_channels=3, features=(8, 8, 16)).eval()


def image(rows: int = 48, columns: int = 48, channels: int = 2) -> torch.Tensor:
    return torch.rand((1, channels, rows, columns), generator=torch.Generator().manual_seed(0))


def windows() -> SlidingWindowInferer:
    return SlidingWindowInferer((32, 32), 4, 0.25, "gaussian")


@torch.no_grad()
def logits_of(x: torch.Tensor, network: nn.Module, tta: str | None = None, **more: bool) -> torch.Tensor:
    found: torch.Tensor = PrecisionInferer(windows(), "float32", tta, **more)(x, network)
    return found


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("tta", ["flips", "rotations"])
def test_the_probability_is_the_mean_of_a_plain_loop_over_the_views(
    network: nn.Module, tta: str, exclusive: bool
) -> None:
    def probability(logits: torch.Tensor) -> torch.Tensor:
        return logits.double().softmax(1) if exclusive else logits.double().sigmoid()

    pairs = zip(SHOWN[tta], BACK[tta], strict=True)
    each = [probability(back(logits_of(show(image()), network))) for show, back in pairs]
    found = probability(logits_of(image(), network, tta, exclusive=exclusive))
    torch.testing.assert_close(found, torch.stack(each).mean(0), rtol=1e-5, atol=1e-7)
    assert (found - each[0]).abs().max() > 1e-4


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("tta", ["flips", "rotations"])
def test_a_mirrored_or_turned_image_gives_the_same_result_mirrored_or_turned_to_the_bit(
    tta: str, channels: int, precision: str
) -> None:
    torch.manual_seed(0)
    network = UltraLightUNet(in_channels=channels, features=(8, 8, 16)).eval()
    inferer = PrecisionInferer(windows(), precision, tta)
    with torch.no_grad():
        found = inferer(image(channels=channels), network)
        for show in SHOWN[tta]:
            assert torch.equal(inferer(show(image(channels=channels)).contiguous(), network), show(found))


def test_an_oblong_image_is_mirrored_to_the_bit_too(network: nn.Module) -> None:
    found = logits_of(image(40, 60), network, "flips")
    for show in FLIPS:
        assert torch.equal(logits_of(show(image(40, 60)), network, "flips"), show(found))


@pytest.mark.parametrize("view", [*views_of("flips"), *views_of("rotations"), View((2,), 1)])
def test_each_view_leads_back(view: View) -> None:
    x = image(5, 7)
    assert torch.equal(view.back(view.of(x)), x)


def test_the_image_as_it_is_alone_is_no_augmentation(network: nn.Module) -> None:
    found = logits_of(image(), network)
    with torch.no_grad():
        assert torch.equal(found, windows()(image().contiguous(memory_format=torch.channels_last), network))
    assert views_of(None) == [View()]


@pytest.mark.parametrize(
    ("tta", "flip_left_right", "upright", "views"),
    [
        ("flips", True, False, {View(), View((3,)), View((2,)), View((2, 3))}),
        ("flips", True, True, {View(), View((3,))}),
        ("rotations", True, False, {View(turns=turns) for turns in range(4)}),
        ("rotations", False, False, {View(turns=turns) for turns in range(4)}),
    ],
)
def test_the_views_are_those_that_training_showed(
    tta: str, flip_left_right: bool, upright: bool, views: set[View]
) -> None:
    found = views_of(tta, flip_left_right, upright)
    assert (set(found), len(found), found[0]) == (views, len(views), View())


@pytest.mark.parametrize(
    ("tta", "flip_left_right", "upright", "message"),
    [
        ("flips", False, False, "no mirrored image (flip_left_right: false); set tta to rotations, or leave it out"),
        ("flips", False, True, "no mirrored image (flip_left_right: false); leave tta out"),
        ("rotations", True, True, "training turned no image (upright: true); set tta to flips, or leave it out"),
        ("rotations", False, True, "training turned no image (upright: true); leave tta out"),
        ("flip", True, False, "tta is 'flip'; set flips or rotations, or null"),
    ],
)
def test_views_that_training_did_not_show_are_refused(
    tta: str, flip_left_right: bool, upright: bool, message: str
) -> None:
    with pytest.raises(WrongValueError, match=re.escape(message)):
        PrecisionInferer(tta=tta, flip_left_right=flip_left_right, upright=upright)


def test_an_oblong_image_is_not_turned(network: nn.Module) -> None:
    with pytest.raises(WrongValueError, match=r"tta is rotations, but the network's images are 40x60: turned"):
        logits_of(image(40, 60), network, "rotations")
