"""A network that another runtime computes, called as torch calls its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...bundling.settings import INT8_GRAPHS
from ...core.cores import use_own_cores
from ...core.errors import DelineateError
from . import Compute, backend_of, familiar_to, int8_graph, unreadable
from .graphs import drop_kept, graph_of, made_image, refuse_other_logits


class Runner(nn.Module):
    """Image (B, C, H, W), float32, 0-1, to logits (B, out_channels, H, W).

    Args:
        compute: image to logits and, of a graph that has them, the features (B, D) of each member.
        computed_by: runtime, version and precision.
        familiarity: of the bundle; not used where the graph has no features.
        size: the rows and columns that the graph takes; any where ``None``.

    Attributes:
        computed_by: as given.
        familiarity: what images' features are compared with.
    """

    def __init__(
        self,
        compute: Compute,
        computed_by: str,
        familiarity: Sequence[Any] = (),
        size: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.computed_by, self.familiarity = computed_by, tuple(familiarity)
        self._compute, self._size, self._seen = compute, size, local()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute.

        Raises:
            DelineateError: the image has another size than the graph was written for.
        """
        if self._size not in (None, given := tuple(image.shape[2:])):
            raise DelineateError(
                f"the network is given {'x'.join(map(str, given))} pixels, and the bundle's setting window says "
                f"{'x'.join(map(str, self._size or ()))}; set window to what it is given, or take the backend torch"
            )
        logits, *features = self._compute(image.float().contiguous().numpy())
        if (seen := getattr(self._seen, "features", None)) is not None:
            seen.append(features)
        return torch.from_numpy(logits)

    @contextmanager
    def pooling_features(self) -> Iterator[Callable[[], list[torch.Tensor]]]:
        """As `networks.features.pooling_features`, of this thread."""
        seen: list[list[NDArray[np.float32]]] = []
        self._seen.features = seen
        try:
            yield lambda: [torch.from_numpy(np.concatenate(each)).mean(0) for each in zip(*seen, strict=True)]
        finally:
            self._seen.features = None


def run_by(backend: str, network: nn.Module, root: Path, precision: str, shape: tuple[int, ...]) -> Runner:
    """A network, computed by another runtime.

    Args:
        backend: one of `MODULES`.
        network: torch's, with its weights, on the CPU.
        root: the bundle's folder.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        shape: (1, C, H, W) of its images.

    Raises:
        DelineateError: the backend's package is missing, it has no such precision, its graph cannot be written or
            read, or its logits are not those of torch.
    """
    module = backend_of(backend)
    use_own_cores()
    int8 = backend in INT8_GRAPHS
    path = int8_graph(root, backend) if int8 else graph_of(network, root, shape, module.GRAPHS)
    try:
        compute, told = module.open_graph(path, "int8" if int8 else precision, torch.get_num_threads())
        if int8:  # was judged on real images
            compute(made_image(shape).numpy())
        else:
            refuse_other_logits(compute, network, made_image(shape), path, told)
    except DelineateError:
        raise
    except Exception as error:  # each runtime has kinds of its own
        drop_kept(path)
        raise unreadable(path, backend, error) from error
    known: Sequence[Any] = getattr(network, "familiarity", ())
    return Runner(compute, told, familiar_to(path, known) if int8 else known, shape[2:])
