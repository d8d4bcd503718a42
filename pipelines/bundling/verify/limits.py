"""Numbers that would make a bundle take all memory: widths of networks, sizes of images, counts of processes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .values import TooLargeError, Value, Values

_NETWORKS = ("monai.networks.", "torch.nn.", "delineate.networks.")
_WORKERS = re.compile(r"(workers|threads|prefetch_factor)$")
_SIZES = re.compile(r"(^|_)(size|shape|window|roi|scale_factor|kernel)$")
_COUNTS = re.compile(r"(^|_)(depth|depths|layers|blocks|units|heads|levels|stages|repeats?)$|^num_res_units$")
_FREE = re.compile(r"seed|^max_|^cache_num$|^total_steps$|_steps$|^length$|^mask$")
MAX_WORKERS, MAX_COUNT, MAX_NUMBER = 64, 256, 1e6
MAX_PIXELS = 1 << 26  # of an image, patch or window
MAX_LAYERS = 64  # numbers in one list of a network
MAX_WIDTHS = 1 << 25  # sum of the squares of a network's widths: about a thousand million parameters


def size_problems(component: Mapping[object, object], values: Values) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) for numbers of a mapping that are beyond any bundle.

    Args:
        component: a mapping of a configuration file.
        values: what the file's values come to.
    """
    target = component.get("_target_")
    network = isinstance(target, str) and target.startswith(_NETWORKS)
    squares = 0.0
    for key, raw in component.items():
        try:
            value = values.of(raw)
        except TooLargeError:
            continue  # said where it stands
        if problem := _problem(str(key), raw, value, target is not None, network):
            yield str(key), problem
        squares += _squares(raw, values) if network else 0
    if squares > MAX_WIDTHS:
        yield "_target_", "a network of this width takes many GB of memory; write smaller numbers of channels"


def _problem(key: str, raw: Any, value: Value, component: bool, network: bool) -> str | None:
    if value.kind not in ("number", "numbers", "list"):
        return None
    if _WORKERS.search(key):
        return _over(key, value.peak, MAX_WORKERS)
    if network and _COUNTS.search(key):
        return _over(key, value.peak, MAX_COUNT)
    if network and value.is_list and value.size > MAX_LAYERS + 1:
        return f"{key} has {value.size - 1:.0f} numbers, at most {MAX_LAYERS} are allowed; write fewer"
    if _SIZES.search(key):
        pixels = value.peak if value.kind == "number" else _product(raw, value)
        return _over(key, pixels, MAX_PIXELS)
    if key == "overlap" and value.kind == "number" and 0.95 < value.peak < 1:
        return "overlap above 0.95 takes countless windows; write a smaller one"
    if component and not _FREE.search(key) and value.kind != "list":
        return _over(key, value.peak, MAX_NUMBER)
    return None


def _over(key: str, seen: float, limit: float) -> str | None:
    return (
        f"{key} comes to {seen:.3g}, at most {limit:.3g} is allowed; write a smaller number" if seen > limit else None
    )


def _product(raw: Any, value: Value) -> float:
    if isinstance(raw, list) and all(isinstance(item, int | float) for item in raw):
        product = 1.0
        for item in raw:
            product *= max(abs(item), 1)
        return product
    return float(value.peak)


def _squares(raw: Any, values: Values) -> float:
    if isinstance(raw, bool | float):
        return 0.0
    if isinstance(raw, int):
        return float(raw) ** 2
    if isinstance(raw, list):
        return sum(_squares(item, values) for item in raw)
    if isinstance(raw, str):
        try:
            value = values.of(raw)
        except TooLargeError:
            return 0.0
        return value.peak**2 * (value.size if value.is_list else 1) if value.kind in ("number", "numbers") else 0.0
    return 0.0
