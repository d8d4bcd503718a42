"""Which rules of a node are for a series."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydicom.config import IGNORE
from pydicom.uid import UID

from ...core.errors import printable

if TYPE_CHECKING:
    from ..queue.records import Facts
    from .config import NodeConfig, Rule

OURS = "Delineate"
"""What `Manufacturer` is in the objects that are written here."""
_NO_IMAGES = {
    "SEG": "a Segmentation",
    "SR": "a report",
    "PR": "a presentation state",
    "KO": "a selection of images",
}
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage; the multi-frame ones are below it


def matching_rules(config: NodeConfig, facts: Facts) -> list[Rule]:
    """The rules that are for a series, in the order of the configuration.

    Args:
        config: of the node.
        facts: of the first image of the series.
    """
    return [rule for rule in config.rules if _is_for(rule, facts)]


def why_not_segmented(facts: Facts) -> str:
    """Why no rule can be for a series, in words; empty where one can: results are not segmented, ours least of all."""
    if facts.manufacturer.strip().casefold() == OURS.casefold():
        return "not segmented: a result of Delineate"
    if facts.modality in _NO_IMAGES:
        return f"not segmented: {_NO_IMAGES[facts.modality]}"
    if facts.sop_class == _CAPTURES or facts.sop_class.startswith(f"{_CAPTURES}."):
        return "not segmented: a Secondary Capture"
    return "" if facts.image else f"not segmented: no image ({_kind_of_object(facts)})"


def kind_of(facts: Facts) -> str:
    """What a series is, in words: modality, kind of image, and what else rules ask for."""
    asked = (facts.body_part, facts.station, facts.series_description)
    words = [facts.modality or "no modality", _kind_of_object(facts), *filter(None, asked)]
    return ", ".join(map(printable, words))


def _kind_of_object(facts: Facts) -> str:
    """The name of its SOP class, e.g. ``CT Image Storage``; what a stranger made up is its own name."""
    return UID(facts.sop_class, validation_mode=IGNORE).name


def _is_for(rule: Rule, facts: Facts) -> bool:
    match = rule.match
    return (
        _fits(match.modality, facts.modality)
        and _fits(match.sop_class, facts.sop_class, _kind_of_object(facts))
        and _fits(match.body_part, facts.body_part)
        and _fits(match.station, facts.station)
        and _fits(match.series_description, facts.series_description)
    )


def _fits(patterns: Sequence[str], *values: str) -> bool:
    wanted = [pattern.casefold() for pattern in patterns]
    return not wanted or any(fnmatchcase(value.strip().casefold(), each) for value in values for each in wanted)
