from __future__ import annotations

import pytest
import torch

from delineate.pipelines.core.devices import refuse_missing
from delineate.pipelines.core.errors import DelineateError


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_device_that_is_there_passes(device: str | torch.device) -> None:
    refuse_missing(device)


@pytest.mark.parametrize("device", ["cuda:99", torch.device("cuda:99"), "gpu", "meta", "3 GPUs"])
def test_a_device_that_is_not_there_is_refused(device: str | torch.device) -> None:
    with pytest.raises(DelineateError, match="there is no such device here; leave device out"):
        refuse_missing(device)


def test_a_device_whose_memory_is_full_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(torch.OutOfMemoryError):
        refuse_missing("cpu")


@pytest.mark.parametrize("device", [None, ["cpu"], 1.5])
def test_what_is_no_device_is_refused(device: object) -> None:
    with pytest.raises(DelineateError, match="there is no such device here"):
        refuse_missing(device)  # type: ignore[arg-type]
