from __future__ import annotations

from threading import Thread

import pytest
import torch

from delineate.networks import Ensemble, create_network
from delineate.networks.features import pooling_features, telling_levels


def light(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return create_network("ultra_light_unet", in_channels=1, out_channels=1, features=[4, 8, 16]).eval()


def features(network: torch.nn.Module, *images: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad(), pooling_features(network) as pooled:
        for image in images:
            network(image)
        return pooled()


IMAGE = torch.rand(1, 1, 32, 48, generator=torch.Generator().manual_seed(0))


def test_features_are_means_of_the_two_levels_above_the_deepest() -> None:
    network = create_network("efficient_lite_unet", in_channels=1, out_channels=1).eval()
    image = torch.rand(1, 1, 64, 64)
    (found,) = features(network, image)
    with torch.no_grad():
        *_, one, two, _ = network.encoder((image * 255 - 127) / 128)
    assert torch.allclose(found, torch.cat([one.mean((0, 2, 3)), two.mean((0, 2, 3))]), atol=1e-5)


def test_those_of_several_windows_are_their_mean() -> None:
    network, other = light(), torch.rand(1, 1, 32, 48)
    (both,), (one,), (two,) = (features(network, *images) for images in ((IMAGE, other), (IMAGE,), (other,)))
    assert torch.allclose(both, (one + two) / 2, atol=1e-6)
    (batch,) = features(network, torch.cat([IMAGE, other]))
    assert torch.allclose(both, batch, atol=1e-6)


def test_an_ensemble_has_those_of_each_member() -> None:
    members = [light(0), light(1)]
    found = features(Ensemble(members), IMAGE)
    for each, member in zip(found, members, strict=True):
        assert torch.equal(each, features(member, IMAGE)[0])


def test_what_another_thread_computes_is_not_seen() -> None:
    network = light()
    with torch.no_grad(), pooling_features(network) as pooled:
        thread = Thread(target=lambda: network(torch.zeros(1, 1, 32, 32)))
        thread.start()
        thread.join()
        network(IMAGE)
        (found,) = pooled()
    assert torch.equal(found, features(network, IMAGE)[0])


def test_a_network_is_afterwards_as_before() -> None:
    network = light()
    features(network, IMAGE)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(("name", "count"), [("unet", 2), ("cmunext", 2), ("tiny_unet", 2), ("deeplabv3plus", 0)])
def test_levels_are_known_of_the_u_nets(name: str, count: int) -> None:
    assert len(telling_levels(create_network(name, in_channels=1, out_channels=1))) == count
