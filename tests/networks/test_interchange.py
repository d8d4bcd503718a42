"""A plain PyTorch U-Net, as people write it, and the same weights in ours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from delineate.networks import create_network, load_in_order


def double_conv(c_in: int, c_out: int) -> nn.Sequential:
    def once(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]

    return nn.Sequential(*once(c_in, c_out), *once(c_out, c_out))


class PlainUNet(nn.Module):
    """Written independently of ours: named layers, no lists."""

    def __init__(self) -> None:
        super().__init__()
        self.inc = double_conv(3, 4)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), double_conv(4, 8))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), double_conv(8, 16))
        self.up1, self.conv1 = nn.ConvTranspose2d(16, 8, 2, stride=2), double_conv(16, 8)
        self.up2, self.conv2 = nn.ConvTranspose2d(8, 4, 2, stride=2), double_conv(8, 4)
        self.outc = nn.Conv2d(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.inc(x)
        two = self.down1(one)
        three = self.down2(two)
        two = self.conv1(torch.cat([two, self.up1(three)], dim=1))
        one = self.conv2(torch.cat([one, self.up2(two)], dim=1))
        logits: torch.Tensor = self.outc(one)
        return logits


@pytest.fixture
def plain() -> PlainUNet:
    torch.manual_seed(0)
    net = PlainUNet()
    net(torch.rand(4, 3, 32, 32))  # batch norm sees something
    return net.eval()


def small(**arguments: object) -> nn.Module:
    return create_network("unet", features=(4, 8, 16), **arguments).eval()


def test_the_same_layers_under_other_names_give_the_same_logits(plain: PlainUNet) -> None:
    net, image = small(), torch.rand(2, 3, 32, 48)
    load_in_order(net, plain.state_dict())
    with torch.no_grad():
        assert torch.equal(net(image), plain(image))


def test_the_names_are_told(plain: PlainUNet) -> None:
    names = load_in_order(small(), plain.state_dict())
    assert (names["inc.0.weight"], names["outc.bias"]) == ("encoder.0.0.weight", "out.bias")
    assert names.keys() == plain.state_dict().keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 1}, r"tensor 1 is encoder.0.0.weight \[4, 1, 3, 3\] here and inc.0.weight \[4, 3, 3, 3\]"),
        ({"out_channels": 2}, r"outc.weight \[1, 4, 1, 1\]"),
        ({"bias": True}, "encoder.0.0.bias"),
    ],
)
def test_another_network_is_refused_at_the_first_tensor_that_differs(
    plain: PlainUNet, arguments: dict[str, object], message: str
) -> None:
    net = small(**arguments)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_in_order(net, plain.state_dict())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_missing_tensor_is_refused(plain: PlainUNet) -> None:
    state = plain.state_dict()
    del state["outc.bias"]
    with pytest.raises(ValueError, match="alike as far as they go"):
        load_in_order(small(), state)


def test_an_entry_that_is_no_tensor_is_named(plain: PlainUNet) -> None:
    state = {**plain.state_dict(), "mask_values": [0, 255]}
    with pytest.raises(ValueError, match="'mask_values' is a list"):
        load_in_order(small(), state)
