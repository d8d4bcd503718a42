"""A metric of MONAI over several structures, of which some may lack a reference."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from monai.metrics.utils import do_metric_reduction

from ..core.errors import DelineateError
from ..core.ranks import anywhere
from ..imaging.structures import UNANNOTATED


class PerStructure(CumulativeIterationMetric):
    """A metric for each structure by itself; none where a structure is not annotated, or the metric is not finite.

    The metric gets each annotated plane as an image of one channel, so any binary metric of MONAI will do.

    Args:
        metric: gives one value an image.
    """

    def __init__(self, metric: CumulativeIterationMetric) -> None:
        self.metric, self._annotated = metric, False
        super().__init__()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._annotated = False

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
        """Score masks 0/1, (B, S, H, W), in ``y`` 255 where not annotated; (B, S), NaN where there is no value."""
        if y is None or y.shape != y_pred.shape:
            raise ValueError(f"prediction is {tuple(y_pred.shape)}, reference {None if y is None else tuple(y.shape)}")
        y_pred, y = (one.as_subclass(torch.Tensor) for one in (y_pred, y))
        annotated = y.flatten(2)[..., 0] != UNANNOTATED
        values = torch.full(annotated.shape, torch.nan, device=y_pred.device)
        if annotated.any():
            self._annotated = True
            self.metric.reset()
            self.metric(*(_planes(one, annotated) for one in (y_pred, y)), **options)
            _keep_to_itself(self.metric)
            found = self._found(int(annotated.sum())).to(values)
            values[annotated] = torch.where(found.isfinite(), found, torch.nan)
        return values

    def _found(self, count: int) -> torch.Tensor:
        """What the metric gives for the planes it was called with."""
        try:
            found: Any = self.metric.aggregate(reduction="none")
        except TypeError:  # it takes no reduction: it is one of all images together
            found = []
        while isinstance(found, tuple) or (isinstance(found, list) and len(found) == 1):
            found = found[0]  # beside it: how many were not NaN
        if not isinstance(found, torch.Tensor) or found.numel() != count:
            seen = found.numel() if isinstance(found, torch.Tensor) else f"{len(found)} lists of"
            raise DelineateError(
                f"{type(self.metric).__name__} gives {seen} scores for {count} masks, one each is needed; "
                "use another metric, or make an entry of each of its scores (metric_name)"
            )
        return found.flatten()

    def aggregate(self, reduction: Any = None) -> torch.Tensor:
        """Mean over structures of the mean over the images that have a value; NaN where none has.

        Raises:
            DelineateError: no structure is annotated in any image.
            ValueError: there was no image.
        """
        values = self.get_buffer()
        if values is None:
            raise ValueError("there was no image")
        if not anywhere(self._annotated):
            raise DelineateError("no structure is annotated in any image, so nothing can be scored; look at the labels")
        known = [column[:, None] for column in values.T if column.isfinite().any()]
        means = [do_metric_reduction(column, "mean")[0] for column in known]
        return torch.stack(means).mean() if means else torch.tensor(torch.nan)


def _planes(masks: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The chosen planes as images of one channel; all of them without a copy."""
    return masks.flatten(0, 1)[:, None] if bool(chosen.all()) else masks[chosen][:, None]


def _keep_to_itself(metric: CumulativeIterationMetric) -> None:
    """Keep MONAI's metric from gathering the values of other processes, which are at another image."""
    if metric._buffers is not None:
        metric._synced_tensors, metric._synced = [torch.stack(values) for values in metric._buffers], True
