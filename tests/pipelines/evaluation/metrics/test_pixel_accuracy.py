from __future__ import annotations

import numpy as np
import pytest
import torch

from delineate.pipelines.evaluation.metrics.pixel_accuracy import PixelAccuracy


def masks(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).round()


@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_accuracy_is_that_of_numpy(channels: int) -> None:
    pred, label = masks(4, channels, 9, 7, seed=0), masks(4, channels, 9, 7, seed=1)
    metric = PixelAccuracy()
    expected = (pred.numpy() == label.numpy()).mean(axis=(2, 3))
    np.testing.assert_allclose(metric(pred, label), expected, rtol=1e-6)
    assert float(metric.aggregate()) == pytest.approx(expected.mean())


def test_images_of_several_sizes_count_the_same() -> None:
    metric = PixelAccuracy()
    small, large = torch.zeros(1, 2, 2), torch.zeros(1, 50, 60)
    metric([small, large], [small, 1 - large])
    assert float(metric.aggregate()) == 0.5


def test_pixel_accuracy_starts_anew_after_reset() -> None:
    metric = PixelAccuracy()
    metric(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    metric.reset()
    metric(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert float(metric.aggregate()) == 1


@pytest.mark.parametrize("label", [None, torch.zeros(1, 1, 3, 2)])
def test_pixel_accuracy_refuses_another_shape(label: torch.Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"prediction is \(1, 1, 2, 2\)"):
        PixelAccuracy()(torch.zeros(1, 1, 2, 2), label)
