"""A network that another runtime computes, called as torch calls its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...core.errors import DelineateError

Compute = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]


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
