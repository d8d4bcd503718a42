"""What MONAI's ``SlidingWindowInferer`` gives."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from delineate.pipelines.inference.runtime.windows import slide

SIDES = st.integers(4, 60)


def network(image: torch.Tensor) -> torch.Tensor:
    """One whose answer depends on where the window is."""
    return torch.cat([image.cumsum(2), image.cumsum(3)], 1)


@settings(deadline=None, max_examples=40)
@given(size=st.tuples(SIDES, SIDES), window=st.tuples(SIDES, SIDES))
def test_logits_are_those_of_monai(size: tuple[int, int], window: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((1, 2, *size), dtype=np.float32)
    expected = sliding_window_inference(torch.from_numpy(image), window, 4, network, overlap=0.25, mode="gaussian")
    found, features = slide(image, window, lambda pixels: [network(torch.from_numpy(pixels)).numpy()])
    assert found.dtype == np.float32
    assert np.allclose(found, expected.numpy(), rtol=1e-4)
    assert features == []


def test_features_are_the_mean_over_windows() -> None:
    image = np.concatenate([np.zeros((1, 1, 8, 8), np.float32), np.ones((1, 1, 8, 8), np.float32)], 3)
    _, (mean,) = slide(image, (8, 8), lambda pixels: [pixels, pixels.mean((2, 3))])
    assert 0 < mean[0] < 1
