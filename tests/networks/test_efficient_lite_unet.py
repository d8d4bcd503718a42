from __future__ import annotations

from typing import Any

import pytest
import torch

from delineate.errors import WrongValueError
from delineate.networks import EfficientLiteUNet


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "lite3"}, "no encoder is called 'lite3'; did you mean 'lite"),
        ({"spatial_dims": 3}, "takes images only"),
        ({"decoder_channels": (8, 8)}, "decoder_channels has 2 levels; set four"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongValueError, match=message):
        EfficientLiteUNet(**arguments)


@pytest.mark.parametrize(("encoder", "parameters"), [("lite0", 2_495_537), ("lite1", 3_260_209), ("lite2", 3_788_289)])
def test_each_encoder_stays_below_four_million_parameters(encoder: str, parameters: int) -> None:
    with torch.device("meta"):
        network = EfficientLiteUNet(encoder=encoder)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_what_the_encoder_sees_is_normalised_inside() -> None:
    network, seen = EfficientLiteUNet().eval(), []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.full((1, 3, 64, 64), 127 / 255))
    assert torch.allclose(seen[0], torch.zeros(()), atol=1e-5)
