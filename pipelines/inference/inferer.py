"""The inferer that gives the network what the machine is fastest at, and the views that are asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from monai.utils import look_up_option
from torch import nn

from ...networks.ensemble import mean_of_probabilities
from ...networks.twins import nested, with_weights
from ..core.cores import use_own_cores
from ..core.finite import not_finite_answer
from .backends.runner import Runner
from .features import noting_distance
from .views import refuse_oblong, views_of

logger = logging.getLogger(__name__)
_LOGGED: WeakKeyDictionary[Callable[..., Any], set[torch.dtype]] = WeakKeyDictionary()
_CAST_BY_AUTOCAST = (nn.modules.conv._ConvNd, nn.Linear)
PRECISIONS = ("auto", "float32", "bfloat16")


def fastest_precision(device: torch.device, learner: object = None) -> tuple[torch.dtype, str]:
    """The faster of float32 and bfloat16 on ``device``, with the reason.

    On a CPU without AVX512-BF16 or AMX bfloat16 is emulated and slower than float32.

    Args:
        device: where the network is.
        learner: the network, while it is trained; on a CPU it may be faster in float32 on the way back, and says so by
            ``trained_on_cpu_in``.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "a GPU that computes in bfloat16"
        return torch.float32, "a GPU without bfloat16"
    if device.type == "cpu":
        if getattr(learner, "trained_on_cpu_in", None) == "float32":
            return torch.float32, "a CPU, on which this network learns faster so"
        able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        for unit, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
            if able.get(unit):
                return torch.bfloat16, f"a CPU with {name}"
        return torch.float32, "a CPU without AVX512-BF16 or AMX"
    return torch.float32, f"device type {device.type}"


class PrecisionInferer(Inferer):
    """Hands the network a plain tensor in channels_last layout under autocast; gives float32 logits back.

    MONAI's ``amp=True`` autocasts on CUDA only, and a ``MetaTensor`` inside the network costs more than a light network
    does. The chosen precision is logged once a network, though training and validation have an inferer each; twice
    where a network learns in another one than it is validated in.

    Args:
        inferer: how the network is applied, e.g. ``SlidingWindowInferer``; ``SimpleInferer`` where ``None``.
        precision: ``"auto"`` (the faster on this device), ``"float32"`` or ``"bfloat16"``.
        tta: ``"flips"`` or ``"rotations"``: logits are those of the mean of the probabilities of several views, see
            `views_of`; ``None``: of the image as it is.
        exclusive: whether probabilities are a softmax over the channels; else each is a sigmoid.
        flip_left_right: whether training mirrored images left-right.
        upright: whether training left images upright.

    Raises:
        ValueError: when ``precision`` is unknown.
        WrongValueError: when ``tta`` is unknown, or training showed the network no such views.
    """

    def __init__(
        self,
        inferer: Inferer | None = None,
        precision: str = "auto",
        tta: str | None = None,
        exclusive: bool = False,
        flip_left_right: bool = True,
        upright: bool = False,
    ) -> None:
        super().__init__()
        self.exclusive, self.views = exclusive, views_of(tta, flip_left_right, upright)
        self.inferer = inferer or SimpleInferer()
        self.precision = look_up_option(precision, PRECISIONS)
        self._chosen: dict[tuple[torch.device, bool], torch.dtype] = {}
        self._laid_out: nn.Module | None = None
        self._cast: tuple[list[tuple[int, int, int]], list[nn.Parameter]] = ([], [])  # of which weights, and these

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """``inputs`` (B, C, H, W) to float32 logits (B, out_channels, H, W).

        Where the network's bundle knows the features of its training images, the image's metadata gets
        ``feature_distance``, see `noting_distance`.

        A deeply supervised network in training gives a sequence of logits, which comes back as a list.

        Raises:
            InputError: in inference, when logits are not finite: a mask of them would be empty.
            WrongValueError: when views are turned, and the image is no square.
        """
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        if plain.dim() == 4:
            self._lay_out(network)
        precision = self._precision_of(network, plain.device)
        cast = self._with_weights_cast(network, precision)
        with self._autocast(plain.device, precision):
            views = self._views(plain)
            with noting_distance(network, inputs):  # of the image as it is, which is the first view
                found = [self.inferer(next(views), cast, *args, **kwargs)]
            found += [self.inferer(view, cast, *args, **kwargs) for view in views]
        if isinstance(found[0], list | tuple):
            return [each.float().contiguous() for each in found[0]]
        each = [view.back(logits) for view, logits in zip(self.views, found, strict=True)]
        logits = mean_of_probabilities(each, self.exclusive).contiguous()
        if not torch.is_grad_enabled():
            _refuse_not_finite(logits, inputs)
        return logits

    def _views(self, image: torch.Tensor) -> Iterator[torch.Tensor]:
        """The image (B, C, H, W) as each view has it, one after the other."""
        refuse_oblong(self.views, image)
        for view in self.views:
            yield _channels_last(view.of(image)) if image.dim() == 4 else view.of(image)

    @property
    def learned_in(self) -> list[str]:
        """The precisions in which networks learned so far, e.g. ``["float32"]``."""
        return sorted({_name(dtype) for (_, learning), dtype in self._chosen.items() if learning})

    @staticmethod
    def _autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
        return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)

    def _precision_of(self, network: Callable[..., Any], device: torch.device) -> torch.dtype:
        learning = torch.is_grad_enabled()
        if (device, learning) not in self._chosen:
            self._chosen[device, learning] = self._choose(device, network, learning)
        return self._chosen[device, learning]

    def _choose(self, device: torch.device, network: Callable[..., Any], learning: bool) -> torch.dtype:
        if device.type == "cpu":
            use_own_cores()
        if isinstance(network, Runner):
            return torch.float32  # of what it takes and gives
        network = getattr(network, "module", network)  # which several processes train
        if self.precision == "auto":
            dtype, reason = fastest_precision(device, network if learning else None)
        else:
            dtype, reason = getattr(torch, self.precision), "as set"
        logged = _LOGGED.setdefault(network, set())
        if dtype not in logged:
            work = "training" if learning else "inference"
            logger.info(f"precision of {work} on {device}: {_name(dtype)} ({reason}), channels_last")
            logged.add(dtype)
        return dtype

    def _lay_out(self, network: Callable[..., Any]) -> None:
        if isinstance(network, nn.Module) and network is not self._laid_out:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._laid_out = network

    def _with_weights_cast(self, network: Callable[..., Any], precision: torch.dtype) -> Callable[..., Any]:
        """In inference: what autocast would cast anew in each call, a sixth of the large U-Net's time."""
        in_float32 = precision == torch.float32
        if in_float32 or not isinstance(network, nn.Module) or network.training or torch.is_grad_enabled():
            return network
        castable = [m for m in nested(network) if isinstance(m, _CAST_BY_AUTOCAST)]
        modules = [m for m in castable if "weight" in m._parameters]  # a parametrized weight is computed in each call
        weights = [m.weight for m in modules]
        if any(w.is_inference() for w in weights):  # these don't tell when they change
            return network
        now = [(id(w), w.data_ptr(), w._version) for w in weights]
        before, cast = self._cast
        if now != before:
            cast = [nn.Parameter(w.detach().to(precision), requires_grad=False) for w in weights]
            self._cast = now, cast
        return with_weights(network, dict(zip(modules, cast, strict=True)))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def computed_by(inferer: Any, network: Any, device: str | torch.device) -> str:
    """What computes a network, in words for records: the runtime, its version and its precision.

    Args:
        inferer: that calls it; of another than `PrecisionInferer` the precision is not known.
        network: torch's, or a `Runner`.
        device: where images are.
    """
    if isinstance(network, Runner):
        return network.computed_by
    told = f"torch {str(torch.__version__).partition('+')[0]}"
    if not isinstance(inferer, PrecisionInferer):
        return told
    dtype = fastest_precision(torch.device(device))[0] if inferer.precision == "auto" else inferer.precision
    return f"{told} {dtype if isinstance(dtype, str) else _name(dtype)}"


def backend_of(engine: Any) -> str:
    """What computes the network of an evaluator, as `computed_by` tells; empty where the engine has none."""
    network, device = getattr(engine, "network", None), getattr(engine.state, "device", None)
    inferer = getattr(engine, "inferer", None)
    return "" if network is None or device is None else computed_by(inferer, network, device)


def _channels_last(image: torch.Tensor) -> torch.Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def _refuse_not_finite(logits: torch.Tensor, inputs: torch.Tensor) -> None:
    if bool(torch.isfinite(logits).all()):
        return
    named = inputs.meta.get("filename_or_obj", "an image") if isinstance(inputs, MetaTensor) else "an image"
    raise not_finite_answer(", ".join(map(str, named)) if isinstance(named, list | tuple) else str(named))
