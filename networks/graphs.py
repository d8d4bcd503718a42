"""How far one exported graph may serve: which axes of its image stay open, and what sizes to draw and to try it at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn
from torch.export import Dim

from .sizes import next_size

Size = tuple[int, int]


class GraphAxes(NamedTuple):
    """What a graph of a network is drawn with.

    Attributes:
        dynamic: axis of the image (B, C, H, W) to its ``torch.export.Dim``.
        drawn: rows and columns of the image to draw it with.
        tried: those of another to compare it at; the same where only one size is taken.
    """

    dynamic: dict[int, Any]
    drawn: Size
    tried: Size


@contextmanager
def out_of_place(network: nn.Module) -> Iterator[None]:
    """Let no activation overwrite its input while a graph is drawn: exporters take twice as long over those that do."""
    overwriting: list[Any] = [module for module in network.modules() if getattr(module, "inplace", False)]
    for module in overwriting:
        module.inplace = False
    try:
        yield
    finally:
        for module in overwriting:
            module.inplace = True


def graph_axes(network: nn.Module, size: Size, any_size: bool = True) -> GraphAxes:
    """The axes of an image that a graph of ``network`` leaves open.

    Args:
        network: one of ours.
        size: rows and columns of its images; all that it takes where its graph cannot serve others.
        any_size: whether it is to serve others.
    """
    dynamic: dict[int, Any] = {0: Dim("batch", min=1)}
    if not (any_size and getattr(network, "dynamic_export", True)):
        return GraphAxes(dynamic, size, size)
    smallest, divisor = int(getattr(network, "smallest_size", 1)), int(getattr(network, "divisor", 1))
    steps, short = -(-smallest // divisor), -smallest % divisor
    for axis, name in ((2, "height"), (3, "width")):
        # torch takes one pixel at the bottom for a case of its own
        whole = Dim(name, min=2 * smallest) if divisor == 1 else divisor * Dim(name, min=steps + 1)
        dynamic[axis] = whole - short if short else whole
    least = max(2 * smallest, 33)

    def sides(rows: int, columns: int) -> Size:
        return next_size(rows, smallest, divisor), next_size(columns, smallest, divisor)

    return GraphAxes(dynamic, sides(least, least + 14), sides(least + 28, least + 3))
