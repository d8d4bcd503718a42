"""Masks that Delineate drew, beside which a person's revision lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...core.errors import InputError, SkippedError
from ..drawn import drafts_among
from .naming import without_revision


def _stem(mask: Path) -> str:
    return mask.stem


def without_drafts(masks: Sequence[Path], stem: Callable[[Path], str] = _stem) -> tuple[list[Path], list[InputError]]:
    """Masks without the drafts that have a revision, e.g. ``a_mask.png`` beside ``a_mask_corrected.png``.

    Args:
        masks: pictures or volumes.
        stem: a file's name without its suffix.

    Returns:
        the masks, and a line on each draft that is passed over.
    """
    revised = {name: mask for mask in masks if (name := without_revision(stem(mask))) != stem(mask)}
    drafts = drafts_among(mask for mask in masks if stem(mask) in revised)
    passed = [
        SkippedError(draft, f"is Delineate's draft of {revised[stem(draft)].name}", "passed over; nothing to do")
        for draft in drafts
    ]
    return [mask for mask in masks if mask not in drafts], list(passed)
