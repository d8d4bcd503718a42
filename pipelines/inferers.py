"""The inferer that gives the network what the machine is fastest at."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from monai.utils import look_up_option
from torch import nn

logger = logging.getLogger(__name__)
PRECISIONS = ("auto", "float32", "bfloat16")


def fastest_precision(device: torch.device) -> tuple[torch.dtype, str]:
    """The faster of float32 and bfloat16 on ``device``, with the reason.

    On a CPU without AVX512-BF16 or AMX bfloat16 is emulated and slower than float32.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "a GPU that computes in bfloat16"
        return torch.float32, "a GPU without bfloat16"
    if device.type == "cpu":
        able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        for unit, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
            if able.get(unit):
                return torch.bfloat16, f"a CPU with {name}"
        return torch.float32, "a CPU without AVX512-BF16 or AMX"
    return torch.float32, f"device type {device.type}"


class PrecisionInferer(Inferer):
    """Hands the network a plain tensor in channels_last layout under autocast; gives float32 logits back.

    MONAI's ``amp=True`` autocasts on CUDA only, and a ``MetaTensor`` inside the network costs more than a light network
    does. The chosen precision is logged once.

    Args:
        inferer: how the network is applied, e.g. ``SlidingWindowInferer``; ``SimpleInferer`` where ``None``.
        precision: ``"auto"`` (the faster on this device), ``"float32"`` or ``"bfloat16"``.

    Raises:
        ValueError: when ``precision`` is unknown.
    """

    def __init__(self, inferer: Inferer | None = None, precision: str = "auto") -> None:
        super().__init__()
        self.inferer = inferer or SimpleInferer()
        self.precision = look_up_option(precision, PRECISIONS)
        self._chosen: dict[torch.device, torch.dtype] = {}
        self._laid_out: nn.Module | None = None

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """``inputs`` (B, C, H, W) to float32 logits (B, out_channels, H, W)."""
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        if plain.dim() == 4:
            plain = plain.contiguous(memory_format=torch.channels_last)
            self._lay_out(network)
        with self.autocast(plain.device):
            logits: torch.Tensor = self.inferer(plain, network, *args, **kwargs)
        return logits.float().contiguous()

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """The context that the network runs in on ``device``."""
        if device not in self._chosen:
            self._chosen[device] = self._choose(device)
        if self._chosen[device] == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, self._chosen[device])

    def _choose(self, device: torch.device) -> torch.dtype:
        if self.precision == "auto":
            dtype, reason = fastest_precision(device)
        else:
            dtype, reason = getattr(torch, self.precision), "as set"
        logger.info(f"precision on {device}: {str(dtype).removeprefix('torch.')} ({reason}), channels_last")
        return dtype

    def _lay_out(self, network: Callable[..., torch.Tensor]) -> None:
        if isinstance(network, nn.Module) and network is not self._laid_out:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._laid_out = network
