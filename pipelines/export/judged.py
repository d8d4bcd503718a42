"""Whether the masks of an int8 graph are good enough: those of validation images against float32's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..core.errors import DelineateError, counted, printable
from ..datasets.datalist import Datalist
from ..evaluation.intervals import mean_with_interval
from ..imaging.item import Item
from ..imaging.reading import read_masks
from ..imaging.volumes.slicing import Slicing
from ..inference.segmenter import Segmenter

MAX_DROP = 0.005  # of mean Dice
LOST = 0.05  # of an image's Dice: it is listed
_THRESHOLDS = np.round(np.arange(0.1, 0.901, 0.05), 2)
_UNANNOTATED = 255

Floats = NDArray[np.float64]


class Lost(NamedTuple):
    """An image whose Dice drops by more than `LOST`."""

    name: str
    sha256: str
    float32: float
    int8: float


class Judged(NamedTuple):
    """What int8 costs on validation images.

    Attributes:
        float32: mean Dice.
        int8: mean Dice, each half of the images with the thresholds that are best for the other half.
        drop: float32 less int8, with its interval: ``{"value": ..., "ci95": [low, high]}``.
        images: how many.
        lost: images that lose more than `LOST`, the worst first.
        thresholds: of int8, fitted on all of these images, one a structure; none where structures are exclusive.
    """

    float32: float
    int8: float
    drop: dict[str, Any]
    images: int
    lost: list[Lost]
    thresholds: list[float]

    def refuse_worse(self) -> None:
        """See that it is good enough.

        Raises:
            DelineateError: it is not, or the images are too few to tell; the message has the figures.
        """
        interval = self.drop["ci95"]
        if interval is not None and self.drop["value"] <= MAX_DROP:
            return
        shown = "unknown, of one group" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
        raise DelineateError(
            f"int8 is not kept: mean Dice of {counted(self.images, 'validation image')} drops from {self.float32:.4f} "
            f"to {self.int8:.4f}, by {self.drop['value']:.4f} (95 % interval {shown}), and at most {MAX_DROP} is "
            f"allowed; more than {LOST} is lost by "
            f"{counted(len(self.lost), 'image')}{self._worst()}; "
            "calibrate on more images with --calibrate, take the other format, or stay with float32"
        )

    def _worst(self) -> str:
        first = [f"{printable(one.name)} {one.float32:.2f} to {one.int8:.2f}" for one in self.lost[:3]]
        return f" ({', '.join(first)}{', ...' if len(self.lost) > len(first) else ''})" if first else ""


def judge(segmenter: Segmenter, int8: nn.Module, data: Datalist) -> Judged:
    """Segment all validation images with both.

    Args:
        segmenter: with the network of float32.
        int8: the network in int8.
        data: the data set.

    Raises:
        DelineateError: it has no validation images.
    """
    items = data.part("validation")
    if not items:
        raise DelineateError(f"{printable(data.folder)} has no validation images; give one that is split")
    float32, scores = (list(one) for one in zip(*_scores(segmenter, int8, items), strict=True))
    groups = [item.group or str(item.file) for item in items]
    by_threshold = np.array(scores)  # (N, S, T), NaN where nobody annotated
    before = np.nanmean(np.array(float32), axis=1)
    after = np.nanmean(_by_the_other_half(by_threshold, groups), axis=1)
    lost = [
        Lost(item.files[0].name, " ".join(item.image_sha256), round(float(a), 4), round(float(b), 4))
        for item, a, b in zip(items, before, after, strict=True)
        if a - b > LOST
    ]
    drop = mean_with_interval(before - after, groups)
    fitted = [float(_THRESHOLDS[one]) for one in _best(by_threshold)] if by_threshold.shape[2] > 1 else []
    lost.sort(key=lambda one: one.int8 - one.float32)
    return Judged(float(before.mean()), float(after.mean()), drop, len(items), lost, fitted)


def _by_the_other_half(scores: Floats, groups: Sequence[str]) -> Floats:
    """Dice (N, S) of scores (N, S, T), no image's at a threshold that was fitted on its own half of the groups."""
    half = np.unique(np.array(groups), return_inverse=True)[1] % 2 == 0
    chosen = np.where(half[:, None], _best(scores[~half]), _best(scores[half]))
    found: Floats = np.take_along_axis(scores, chosen[..., None], axis=2)[..., 0]
    return found


def _best(scores: Floats) -> NDArray[np.intp]:
    """Places (S,) of the thresholds with the greatest mean Dice (N, S, T); the middle one where nobody annotated."""
    unknown = np.isnan(scores).all((0, 2))
    best: NDArray[np.intp] = np.where(unknown, scores.shape[2] // 2, np.argmax(np.nansum(scores, axis=0), axis=1))
    return best


def _scores(segmenter: Segmenter, int8: nn.Module, items: Sequence[Item]) -> Iterator[tuple[Floats, Floats]]:
    """Of each image Dice of float32 (S,), and of int8 at each threshold (S, T); of exclusive structures T is 1."""
    names = [one.name for one in segmenter.structures]
    exclusive = any(segmenter.thresholds[name] == 0 for name in segmenter.thresholds)
    for item in items:
        reference = read_masks(item, names, Slicing.of(segmenter.slicing))
        image = prepared(segmenter, item)
        masks, _ = _planes(segmenter, image, segmenter.network)
        own, probabilities = _planes(segmenter, image, int8)
        planes = [own] if exclusive else [probabilities >= threshold for threshold in _THRESHOLDS]
        yield _dice(masks, reference), np.stack([_dice(each, reference) for each in planes], 1)


def prepared(segmenter: Segmenter, item: Item) -> Any:
    """An image as the bundle prepares it, (C, H, W)."""
    fields = item.as_fields()
    known = {key: fields[key] for key in ("image", "slice", "series", "image_sha256") if key in fields}
    return segmenter.preprocessing(known)["image"]


@torch.no_grad()
def _planes(segmenter: Segmenter, image: Any, network: nn.Module) -> tuple[NDArray[Any], NDArray[Any]]:
    """Masks and probabilities (S, H, W), on the image's own grid."""
    logits = segmenter.inferer(image[None].to(segmenter.device), network)
    found = segmenter.postprocessing({"image": image, "pred": logits[0]})
    return np.asarray(found["pred"].cpu()) > 0, np.asarray(found["probability"].cpu())


def _dice(masks: NDArray[Any], reference: NDArray[np.uint8]) -> Floats:
    """(S,); 1 where mask and reference are empty, NaN where nobody annotated."""
    found = []
    for mask, drawn in zip(masks, reference, strict=True):
        total = int(mask.sum()) + int((drawn == 1).sum())
        dice = 2 * int((mask & (drawn == 1)).sum()) / total if total else 1.0
        found.append(float("nan") if drawn.flat[0] == _UNANNOTATED else dice)
    return np.array(found)
