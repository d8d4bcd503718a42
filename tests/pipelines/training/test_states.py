from __future__ import annotations

from pathlib import Path

import pytest
import torch

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.training.states import load_last, save_last


def test_a_device_that_is_not_there_is_not_taken_for_a_damaged_state(tmp_path: Path) -> None:
    save_last({"epoch": 1, "iteration": 2, "best_metric": 0.5, "best_metric_epoch": 1, "x": torch.zeros(1)}, tmp_path)
    assert load_last(tmp_path) is not None
    with pytest.raises(DelineateError, match="there is no such device here"):
        load_last(tmp_path, "cuda:99")
