"""What is odd about masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..datasets.check import seems_inverted
from .findings import Finding, Member, found
from .outliers import outliers


@dataclass(frozen=True)
class MaskFacts:
    """Figures of a mask.

    Attributes:
        area: the share of the image, 0-1.
        parts: how many pieces it is in; pixels that meet at a corner are together.
        smallest: pixels of the smallest piece.
        holes: background pixels that it encloses.
        border: pixels on the image's edge.
        inverted: whether it covers most of the image and its edge.
    """

    area: float
    parts: int
    smallest: int
    holes: int
    border: int
    inverted: bool = False


def measure_mask(mask: NDArray[np.uint8]) -> MaskFacts:
    """Figures of a mask (H, W) of 0 and 1."""
    labels, parts = ndimage.label(mask, np.ones((3, 3)))
    filled = ndimage.binary_fill_holes(mask)
    edge = np.ones(mask.shape, bool)
    edge[1:-1, 1:-1] = False
    return MaskFacts(
        area=float(mask.mean()),
        parts=int(parts),
        smallest=int(np.bincount(labels.ravel())[1:].min(initial=mask.size)),
        holes=int(filled.sum() - mask.sum()),
        border=int(mask[edge].sum()),
        inverted=seems_inverted(mask),
    )


def mask_findings(members: Sequence[Member], facts: Sequence[MaskFacts], structure: str = "") -> Iterable[Finding]:
    """One finding an oddity; a full mask is a problem, all else here may be as it should.

    Args:
        members: the items whose masks these are.
        facts: figures of each mask.
        structure: what they are masks of, where there are several structures.
    """
    named, of = (f" {structure}", f"{structure}: ") if structure else ("", "")
    for member, mask in zip(members, facts, strict=True):
        if member.item.draft:
            yield found("mask", "draft" + named, [member], of + "as Delineate drew it, changed by nobody", "note")
        for what, seen in _oddities(mask).items():
            yield found("mask", what + named, [member], of + seen, "problem" if what == "full" else "note")
    drawn = [index for index, mask in enumerate(facts) if mask.area > 0]
    areas = [facts[index].area for index in drawn]
    for index, times in outliers(areas):
        seen = f"{of}area {areas[index]:.2%} of the image, {times} of the set's median"
        yield found("mask", f"area{named}", [members[drawn[index]]], seen, "note")


def _oddities(mask: MaskFacts) -> dict[str, str]:
    if mask.area in (0, 1):
        return {"full": "covers the whole image"} if mask.area else {"empty": "empty"}
    seen = {
        "parts": (mask.parts > 1, f"{mask.parts} parts, the smallest of {mask.smallest} pixels"),
        "holes": (mask.holes > 0, f"holes of {mask.holes} pixels"),
        "inverted": (mask.inverted, "covers most of the image and its border, as an inverted mask does"),
        "border": (mask.border > 0, f"{mask.border} pixels on the image's border"),
    }
    return {what: text for what, (holds, text) in seen.items() if holds}
