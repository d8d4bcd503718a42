from __future__ import annotations

import pytest
import torch
from torch import nn

from delineate.networks import describe_network, list_networks, network_facts
from delineate.networks.facts import count_macs


@pytest.mark.parametrize(
    ("network", "macs"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), 3 * 8 * 9 * 16 * 16),
        (nn.Conv2d(3, 8, 3, padding=1, stride=2), 3 * 8 * 9 * 8 * 8),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3), 6 * 9 * 16 * 16),
        (nn.ConvTranspose2d(3, 8, 2, stride=2), 3 * 8 * 4 * 16 * 16),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5)), 3 * 16 * 16 * 5),
    ],
    ids=["plain", "strided", "depthwise", "transposed", "linear"],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_macs_are_those_of_a_hand_count(network: nn.Module, macs: int, device: str) -> None:
    assert count_macs(network.to_empty(device=device), side=16) == macs


def test_macs_grow_with_the_channels_of_the_image() -> None:
    network = nn.Conv2d(1, 8, 3, padding=1)
    assert count_macs(network, side=16, in_channels=1) == 8 * 9 * 16 * 16


def test_the_facts_of_the_u_net_are_its_own() -> None:
    facts = network_facts("unet")
    assert (facts.name, facts.description) == ("unet", describe_network("unet"))
    assert (facts.parameters, facts.side, facts.smallest_size, facts.divisor) == (31_037_633, 256, 16, 1)
    assert facts.reference.endswith("https://doi.org/10.1007/978-3-319-24574-4_28")


def test_the_macs_of_the_u_net_are_a_hand_count() -> None:
    widths, pixels = (64, 128, 256, 512, 1024), [256 * 256 // 4**level for level in range(5)]
    down = sum(9 * (i + o) * o * n for i, o, n in zip((3, *widths), widths, pixels, strict=False))
    up = sum(9 * 3 * o * o * n + 4 * 2 * o * o * n // 4 for o, n in zip(widths, pixels[:4], strict=False))
    assert network_facts("unet").macs == down + up + 64 * pixels[0]


def test_a_network_that_does_not_take_256_pixels_is_counted_at_the_next_size() -> None:
    assert network_facts("classic_unet").side == 268


@pytest.mark.parametrize("name", list_networks())
def test_every_listed_network_has_facts(name: str) -> None:
    try:
        facts = network_facts(name)
    except ImportError as missing:
        pytest.skip(str(missing))
    assert facts.macs > facts.parameters  # each is used at more pixels than one
    assert facts.smallest_size <= facts.side


def test_facts_draw_no_random_numbers() -> None:
    state = torch.get_rng_state()
    network_facts("unet")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_wrong_name_is_answered_with_the_closest() -> None:
    with pytest.raises(ValueError, match="did you mean 'ultra_light_unet'"):
        network_facts("ultralight_unet")
