from __future__ import annotations

import inspect

import pytest
import torch
from monai.bundle import ConfigParser

from delineate.networks import UltraLightUNet, UNet, create_network, describe_network, list_networks
from delineate.networks.registry import NETWORKS

VOCABULARY = {"spatial_dims", "in_channels", "out_channels", "features", "act", "norm", "dropout", "upsample"}


def test_the_two_first_networks_are_there() -> None:
    assert {"unet", "ultra_light_unet"} <= set(list_networks())


@pytest.mark.parametrize(("name", "kind"), [("unet", UNet), ("ultra_light_unet", UltraLightUNet)])
def test_a_name_makes_its_network(name: str, kind: type) -> None:
    assert type(create_network(name, features=(4, 8))) is kind


@pytest.mark.parametrize("name", list_networks())
def test_channels_are_passed_on(name: str) -> None:
    network = create_network(name, in_channels=5, out_channels=4, features=(4, 8)).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 5, 16, 16)).shape == (1, 4, 16, 16)


@pytest.mark.parametrize("name", list_networks())
def test_networks_speak_monais_vocabulary(name: str) -> None:
    assert inspect.signature(NETWORKS[name]).parameters.keys() >= VOCABULARY


@pytest.mark.parametrize("name", list_networks())
def test_each_description_is_one_line(name: str) -> None:
    assert describe_network(name).strip()
    assert "\n" not in describe_network(name)


@pytest.mark.parametrize("call", [create_network, describe_network])
def test_a_wrong_name_is_answered_with_the_closest(call) -> None:
    with pytest.raises(ValueError, match="ultra_light_unet") as error:
        call("ultralight_unet")
    assert "did you mean" in str(error.value).lower()


def test_a_wrong_argument_is_answered_with_the_closest() -> None:
    with pytest.raises(ValueError, match="did you mean 'features'"):
        create_network("unet", feature=(4, 8))


@pytest.mark.parametrize("kind", [UNet, UltraLightUNet])
def test_a_target_in_a_configuration_resolves(kind: type) -> None:
    config = {"net": {"_target_": f"delineate.networks.{kind.__name__}", "features": [4, 8]}}
    assert type(ConfigParser(config).get_parsed_content("net")) is kind
