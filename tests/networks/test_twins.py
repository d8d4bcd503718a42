"""A network beside itself."""

from __future__ import annotations

import torch
from torch import nn

from delineate.networks.twins import nested, with_weights


def doubled(network: nn.Module) -> dict[nn.Module, nn.Parameter]:
    return {m: nn.Parameter(2 * m.weight.detach()) for m in nested(network) if isinstance(m, nn.Conv2d)}


def test_it_computes_with_the_weights_it_is_given_and_the_other_with_its_own() -> None:
    shared = nn.Conv2d(2, 2, 1, bias=False)
    network, image = nn.Sequential(shared, nn.Sequential(shared), nn.Identity()), torch.rand(1, 2, 3, 3)
    before = network(image)
    assert torch.equal(with_weights(network, doubled(network))(image), 4 * before)
    assert torch.equal(network(image), before)


def test_hooks_are_shared_also_those_that_come_later() -> None:
    network, seen = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), list[int]()
    twin = with_weights(network, doubled(network))
    for module in network:
        module.register_forward_hook(lambda *_: seen.append(1))
    twin(torch.rand(1, 1, 2, 2))
    assert len(seen) == 2


def test_all_modules_are_nested_in_it() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sequential(nn.ReLU(), nn.Identity()))
    assert list(nested(network)) == list(network.modules())


def test_a_child_that_is_missing_stays_so() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    network.register_module("absent", None)
    assert with_weights(network, {}).absent is None
