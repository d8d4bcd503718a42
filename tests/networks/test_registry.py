from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from monai.bundle import ConfigParser
from torch import nn

from delineate import DelineateError, networks
from delineate.networks import UltraLightUNet, UNet, create_network, describe_network, list_networks
from delineate.networks.registry import network_class

each_name = pytest.mark.parametrize("name", list_networks())


def test_the_two_first_networks_are_there() -> None:
    assert {"unet", "ultra_light_unet"} <= set(list_networks())


def test_monais_networks_come_after_ours_and_say_so() -> None:
    theirs = [name.startswith("monai.") for name in list_networks()]
    assert theirs == sorted(theirs)
    assert {"monai.BasicUNet", "monai.DynUNet"} <= set(list_networks())


@pytest.mark.parametrize(("name", "kind"), [("unet", UNet), ("ultra_light_unet", UltraLightUNet)])
def test_a_name_makes_its_network(name: str, kind: type) -> None:
    assert type(create_network(name, features=(4, 8))) is kind


def test_each_class_is_listed_once() -> None:
    kinds = [network_class(name) for name in list_networks()]
    assert len(set(kinds)) == len(kinds)


@each_name
def test_networks_speak_monais_vocabulary(name: str) -> None:
    parameters = inspect.signature(network_class(name)).parameters
    assert list(parameters)[:3] == ["spatial_dims", "in_channels", "out_channels"]
    assert [parameters[key].default for key in list(parameters)[:3]] == [2, 3, 1]


@pytest.mark.parametrize("name", [name for name in list_networks() if issubclass(network_class(name), UNet)])
def test_the_u_nets_take_the_same_arguments(name: str) -> None:
    theirs, common = (list(inspect.signature(kind).parameters) for kind in (network_class(name), UNet))
    assert theirs[: len(common)] == common


@each_name
def test_each_description_is_one_line(name: str) -> None:
    assert describe_network(name).strip()
    assert "\n" not in describe_network(name)


@pytest.mark.parametrize("call", [create_network, describe_network, network_class])
@pytest.mark.parametrize(
    ("wrong", "name"), [("ultralight_unet", "ultra_light_unet"), ("monai.BasicUnet", "monai.BasicUNet")]
)
def test_a_wrong_name_is_answered_with_the_closest(call: Callable[[str], object], wrong: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{name}'"):
        call(wrong)


def test_what_a_user_can_put_right_is_one_line_of_our_own_kind() -> None:
    for name, arguments in (("unett", {}), ("unet", {"feature": (4, 8)}), ("unet", {"features": (4,)})):
        with pytest.raises(DelineateError) as refused:
            create_network(name, **arguments)
        assert "\n" not in str(refused.value)


def test_a_wrong_argument_is_answered_with_the_closest() -> None:
    with pytest.raises(ValueError, match="did you mean 'features'"):
        create_network("unet", feature=(4, 8))


def test_our_networks_are_exported_by_their_names() -> None:
    ours = {network_class(name).__name__ for name in list_networks() if not name.startswith("monai.")}
    exported = [key for key, value in vars(networks).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
    assert set(exported) == ours | {"Ensemble"}  # which is made of others, not by its name
    assert ours <= set(networks.__all__)


@pytest.mark.parametrize("name", [name for name in list_networks() if not name.startswith("monai.")])
def test_a_target_in_a_configuration_resolves(name: str) -> None:
    kind: Any = network_class(name)
    config = {"net": {"_target_": f"delineate.networks.{kind.__name__}", "_mode_": "callable"}}
    assert ConfigParser(config).get_parsed_content("net") is kind
