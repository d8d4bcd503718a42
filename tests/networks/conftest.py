from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """Weights that are drawn anew must not decide a test."""
    torch.manual_seed(0)
