"""Pairs of images that show the same picture: duplicates, contradictions, leaks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..datasets.datalist import as_list, dataset_hash, open_datalist
from ..datasets.groups import audited_pairs
from ..duplicates.search import Duplicate, carry
from .accept import read_accepted
from .findings import Finding, Member, found, read_members

AGREEMENT = 0.9
"""IoU below which two masks of the same picture contradict each other."""

NEARLY_EQUAL = 0.1
"""Difference up to which two pictures of one subject are one frame, not two that follow each other."""


def pair_findings(
    members: Sequence[Member], duplicates: Sequence[Duplicate], masks: Sequence[NDArray[np.uint8] | None]
) -> Iterator[Finding]:
    """What duplicates give rise to; one finding a pair, so that each can be accepted with a reason of its own.

    Args:
        members: the items.
        duplicates: pairs of their positions.
        masks: each item's mask squeezed to (S, S), 0 or 1, where it has one.
    """
    for pair in duplicates:
        both = [members[pair.first], members[pair.second]]
        told = pair.how if pair.exact else f"{pair.how} (difference {pair.difference:.2f})"
        if pair.difference > NEARLY_EQUAL and _of_one_subject(*both):
            yield found("similar_frame", "", both, told, "note")
            continue
        yield found("exact_duplicate" if pair.exact else "near_duplicate", "", both, told)
        if _apart(*both):
            yield _leak(both, told)
        if disagreement := _disagreement(both, pair, masks):
            yield found("contradiction", "", both, f"{disagreement}; {told}")


def leak_findings(members: Sequence[Member]) -> Iterator[Finding]:
    """Groups, and images with equal hashes, that are on several sides of a split; nothing is decoded."""
    members = [member for member in members if member.side]
    for (group,), together in _by(members, "group").items():
        if len({member.side for member in together}) > 1:
            counts = {side: sum(member.side == side for member in together) for side in (m.side for m in together)}
            told = f"group {group} is in " + " and ".join(f"{side} ({count})" for side, count in counts.items())
            first = [next(member for member in together if member.side == side) for side in counts]
            yield found("leak", "group", first, told, contents=[str(group)])
    for key, parts in (("image_sha256", ("slice", "series")), ("pixels_sha256", ())):  # a file may hold many images
        for together in _by(members, key, *parts).values():
            for one, other in combinations(together, 2):
                if _apart(one, other):
                    yield _leak([one, other], "equal files" if key == "image_sha256" else "equal pixels")


def quick_leaks(dataset_dir: str | Path) -> list[Finding]:
    """The leaks that are known without decoding an image, for use before every training.

    Found are groups and equal images on several sides of a split, and duplicates that the data list records or that
    ``audit.json`` names, however the images were split when it was written. Accepted ones are left out.

    Args:
        dataset_dir: the data set's folder.

    Raises:
        InputError: ``accepted.yaml`` is not as it should be.
    """
    folder = Path(dataset_dir)
    datalist = open_datalist(folder)
    members = read_members(datalist)
    known = [
        *_audited_leaks(folder, datalist),
        *leak_findings(members),
        *_recorded_leaks(members, datalist),
        *_paired_leaks(members, folder),
    ]
    leaks = {leak.id: leak for leak in known}
    accepted = read_accepted(folder)
    return [leak for leak in leaks.values() if leak.id not in accepted]


def _recorded_leaks(members: Sequence[Member], datalist: Mapping[str, Any]) -> Iterator[Finding]:
    """Duplicates as the data list records them, two images (or volumes) each, that stand on several sides by now."""
    of_image: dict[str, list[Member]] = {}
    for member in members:
        of_image.setdefault(as_list(member.entry["image"])[0], []).append(member)
    for record in datalist.get("duplicates", []):
        first, second = (of_image.get(image, []) for image in record["items"])
        both = next((pair for pair in product(first, second) if _apart(*pair)), None)
        if both:
            yield _leak(both, "equal" if record["exact"] else "alike")


def _paired_leaks(members: Sequence[Member], folder: Path) -> Iterator[Finding]:
    """Duplicates that the last audit found, by the contents of their files, that stand on several sides by now."""
    try:
        pairs = audited_pairs([dict(member.entry) for member in members], folder)
    except InputError:
        return  # `before_training` says that there is no audit of this data set
    for first, second, exact in pairs:
        if _apart(members[first], members[second]):
            yield _leak([members[first], members[second]], "equal" if exact else "alike")


def _audited_leaks(folder: Path, datalist: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if audit.get("dataset_hash") == dataset_hash(datalist):
        for one in audit["findings"]:
            if one["kind"] == "leak":
                yield Finding(one["id"], one["kind"], one["severity"], tuple(one["items"]), one["detail"])


def _apart(one: Member, other: Member) -> bool:
    return bool(one.side and other.side) and one.side != other.side


def _of_one_subject(one: Member, other: Member) -> bool:
    """Whether their groups were one before duplicates joined any."""
    return one.entry.get("own_group") is not None and one.entry["own_group"] == other.entry.get("own_group")


def _leak(both: Sequence[Member], told: str) -> Finding:
    return found("leak", "duplicate", both, f"the same picture in {both[0].side} and {both[1].side}: {told}")


def _by(members: Iterable[Member], key: str, *parts: str) -> dict[Any, list[Member]]:
    """Members that have the key, by its value and by those of the parts, which they may lack."""
    together: dict[Any, list[Member]] = {}
    for member in members:
        if member.entry.get(key) is not None:
            value = (str(member.entry[key]), *(member.entry.get(part) for part in parts))
            together.setdefault(value, []).append(member)
    return together


def _disagreement(both: Sequence[Member], pair: Duplicate, masks: Sequence[NDArray[np.uint8] | None]) -> str:
    """How the labels of one picture differ; empty where they do not."""
    classes = [member.entry.get("class") for member in both]
    told = [f"classes {classes[0]} and {classes[1]}"] if None not in classes and classes[0] != classes[1] else []
    first, second = masks[pair.first], masks[pair.second]
    if first is not None and second is not None:
        both_show = carry(np.ones_like(second), pair.transform) > 0.5
        iou = _iou((first > 0) & both_show, (carry(second, pair.transform) > 0.5) & both_show)
        below = floor(iou * 1000) / 1000  # rounded, it could read as AGREEMENT itself
        told += [f"masks with an IoU of {below:.3f}"] if iou < AGREEMENT else []
    return ", ".join(told)


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Of two masks; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0
