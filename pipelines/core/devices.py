"""Whether a device is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import DelineateError, is_out_of_memory

if TYPE_CHECKING:
    import torch


def refuse_missing(device: str | torch.device) -> None:
    """See that this machine can compute on a device.

    Args:
        device: as torch names it: ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        DelineateError: torch knows no such device, or this machine has none.
    """
    try:
        import torch
    except ImportError as error:
        if str(device) == "cpu":
            return
        raise DelineateError(
            f"device is {str(device)!r}, and without torch images are computed on the CPU; leave device out"
        ) from error
    try:
        torch.zeros(1, device=torch.device(device)).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:  # the last but one where torch is built without CUDA
        if is_out_of_memory(error):
            raise
        raise DelineateError(
            f"device is {str(device)!r}, and there is no such device here; leave device out, or set device=cpu"
        ) from error
