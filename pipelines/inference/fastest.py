"""Which backend is the fastest for a network on this machine: measured once, kept for the user."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..bundling.exports import int8_export
from ..bundling.settings import INT8_GRAPHS
from ..core.cores import use_own_cores
from ..core.errors import DelineateError
from ..core.files import cache_folder, write_atomically
from ..core.versions import cpu_name
from .backends import MODULES
from .backends.graphs import graph_key, made_image
from .backends.runner import run_by
from .inferer import PrecisionInferer

logger = logging.getLogger(__name__)
_ROUNDS, _SECONDS = 15, 2.0  # of each backend, at most
_MARGIN = 0.95  # another backend is taken where it needs less than this share of torch's time


class Measured(NamedTuple):
    """What was measured.

    Attributes:
        backend: the fastest.
        milliseconds: an image, median, by backend.
        left_out: the reasons why others were not measured.
        path: of the file in which this is kept.
    """

    backend: str
    milliseconds: dict[str, float]
    left_out: dict[str, str]
    path: Path

    @property
    def reason(self) -> str:
        """In words."""
        times = ", ".join(f"{name} {each:.1f} ms" for name, each in sorted(self.milliseconds.items(), key=_second))
        return f"an image takes {times} here"


def fastest_backend(
    network: nn.Module, root: Path, shape: tuple[int, ...], precision: str = "auto", *, anew: bool = False
) -> Measured:
    """The fastest backend for a network on this CPU; torch where another is not 5 % faster.

    Args:
        network: torch's, with its weights, on the CPU.
        root: the bundle's folder.
        shape: (1, C, H, W) of its images.
        precision: the bundle's setting; what cannot compute so is left out.
        anew: measure, though it is known.
    """
    use_own_cores()
    path = cache_folder("backends") / f"{_key(root, shape, precision)}.json"
    if not anew and (known := _read(path)):
        return known
    calls: dict[str, Callable[[torch.Tensor], Any]] = {"torch": _by_torch(network, precision)}
    left_out = {name: reason for name in MODULES if (reason := _not_measured(name, root))}
    for name in MODULES.keys() - left_out.keys():
        try:
            calls[name] = run_by(name, network, root, precision, shape)
        except DelineateError as error:
            left_out[name] = str(error)
    times = _measure(calls, made_image(shape))
    others = [name for name in times if times[name] < _MARGIN * times["torch"]]
    found = Measured(min(others, key=lambda name: times[name], default="torch"), times, left_out, path)
    _keep(found)
    return found


def _not_measured(name: str, root: Path) -> str:
    """Why a backend is no choice; nothing where it is one."""
    if find_spec(MODULES[name]) is None:
        return "not installed"
    if name in INT8_GRAPHS and not (int8_export(root / "models", INT8_GRAPHS[name]) or {}).get("auto"):
        return "its masks are others; the bundle has no such graph whose owner allows it"
    return ""


def _by_torch(network: nn.Module, precision: str) -> Callable[[torch.Tensor], Any]:
    """As the bundle's inferer calls it."""
    inferer = PrecisionInferer(precision=precision)
    return lambda image: inferer(image, network)


def _measure(calls: Mapping[str, Callable[[torch.Tensor], Any]], image: torch.Tensor) -> dict[str, float]:
    """Median milliseconds; all take turns, so that what else the machine does meets them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for _ in range(2):
            for call in calls.values():
                call(image)
        for _ in range(_ROUNDS):
            for name, call in calls.items():
                if sum(seconds[name]) < _SECONDS:
                    start = perf_counter()
                    call(image)
                    seconds[name].append(perf_counter() - start)
    return {name: round(1000 * float(np.median(each)), 3) for name, each in seconds.items()}


def _keep(found: Measured) -> None:
    told: dict[str, Any] = {"backend": found.backend, "milliseconds": found.milliseconds, "left_out": found.left_out}
    told |= {"cpu": cpu_name(), "threads": torch.get_num_threads()}
    try:
        found.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(found.path, (json.dumps(told, indent=1) + "\n").encode())
    except OSError as error:
        logger.warning(f"which backend is the fastest cannot be kept in {found.path} ({error.strerror})")


def _read(path: Path) -> Measured | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        times = {str(name): float(each) for name, each in told["milliseconds"].items()}
        if told["backend"] not in times or any(find_spec(MODULES.get(name, name)) is None for name in times):
            return None
        return Measured(told["backend"], times, dict(told["left_out"]), path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _key(root: Path, shape: tuple[int, ...], precision: str) -> str:
    """Names network, weights, versions, CPU, threads and precision."""
    packages = {name: _version(name) for name in MODULES.values()}
    allowed = [name for name in INT8_GRAPHS if not _not_measured(name, root)]
    told = [graph_key(root, shape), precision, packages, allowed, cpu_name(), torch.get_num_threads()]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _second(pair: tuple[str, float]) -> float:
    return pair[1]
