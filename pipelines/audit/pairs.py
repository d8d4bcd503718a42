"""Pairs of images that show the same picture: duplicates, contradictions, leaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..datasets.datalist import Datalist
from ..datasets.groups import audited_pairs
from ..duplicates.search import Duplicate, carry
from ..imaging.item import Item
from .accept import read_accepted
from .findings import Finding, Member, found, members_of

AGREEMENT = 0.9
"""IoU below which two masks of the same picture contradict each other."""

NEARLY_EQUAL = 0.1
"""Difference up to which two pictures of one subject are one frame, not two that follow each other."""


def pair_findings(
    members: Sequence[Member], duplicates: Sequence[Duplicate], masks: Sequence[Mapping[str, NDArray[np.uint8]]]
) -> Iterator[Finding]:
    """What duplicates give rise to; one finding a pair, so that each can be accepted with a reason of its own.

    Args:
        members: the items.
        duplicates: pairs of their positions.
        masks: each item's masks by structure, squeezed to a square, 0 or 1.
    """
    for pair in duplicates:
        both = [members[pair.first], members[pair.second]]
        detail = pair.how if pair.exact else f"{pair.how} (difference {pair.difference:.2f})"
        if pair.difference > NEARLY_EQUAL and _of_one_subject(*both):
            yield found("similar_frame", "", both, detail, "note")
            continue
        yield found("exact_duplicate" if pair.exact else "near_duplicate", "", both, detail)
        if _apart(*both):
            yield _leak(both, detail)
        if disagreement := _disagreement(both, pair, masks):
            yield found("contradiction", "", both, f"{disagreement}; {detail}")


def leak_findings(members: Sequence[Member]) -> Iterator[Finding]:
    """Groups, and images with equal hashes, that are on several sides of a split; nothing is decoded."""
    members = [member for member in members if member.side]
    for (group,), together in _by(members, lambda item: (item.group,)).items():
        if len({member.side for member in together}) > 1:
            counts = {side: sum(member.side == side for member in together) for side in (m.side for m in together)}
            detail = f"group {group} is in " + " and ".join(f"{side} ({count})" for side, count in counts.items())
            first = [next(member for member in together if member.side == side) for side in counts]
            yield found("leak", "group", first, detail, contents=[str(group)])
    files = _by(members, lambda item: (item.image_sha256, item.slice, item.series))  # a file may hold many images
    pixels = _by(members, lambda item: (item.pixels_sha256,))
    for equal, what in ((files, "equal files"), (pixels, "equal pixels")):
        for together in equal.values():
            for one, other in combinations(together, 2):
                if _apart(one, other):
                    yield _leak([one, other], what)


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
    datalist = Datalist.read(folder)
    members = members_of(datalist)
    known = [
        *_audited_leaks(folder, datalist),
        *leak_findings(members),
        *_recorded_leaks(members, datalist),
        *_paired_leaks(members, folder),
    ]
    leaks = {leak.id: leak for leak in known}
    accepted = read_accepted(folder)
    return [leak for leak in leaks.values() if leak.id not in accepted]


def _recorded_leaks(members: Sequence[Member], datalist: Datalist) -> Iterator[Finding]:
    """Duplicates as the data list records them, two images (or volumes) each, that stand on several sides by now."""
    of_image: dict[Path, list[Member]] = {}
    for member in members:
        of_image.setdefault(member.item.file, []).append(member)
    for first, second, exact in datalist.duplicates:
        pairs = product(of_image.get(first, []), of_image.get(second, []))
        if both := next((pair for pair in pairs if _apart(*pair)), None):
            yield _leak(both, "equal" if exact else "alike")


def _paired_leaks(members: Sequence[Member], folder: Path) -> Iterator[Finding]:
    """Duplicates that the last audit found, by the contents of their files, that stand on several sides by now."""
    try:
        pairs = audited_pairs([member.item for member in members], folder)
    except InputError:
        return  # `before_training` says that there is no audit of this data set
    for first, second, exact in pairs:
        if _apart(members[first], members[second]):
            yield _leak([members[first], members[second]], "equal" if exact else "alike")


def _audited_leaks(folder: Path, datalist: Datalist) -> Iterator[Finding]:
    try:
        audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if audit.get("dataset_hash") == datalist.hash:
        for one in audit["findings"]:
            if one["kind"] == "leak":
                yield Finding(one["id"], one["kind"], one["severity"], tuple(one["items"]), one["detail"])


def _apart(one: Member, other: Member) -> bool:
    return bool(one.side and other.side) and one.side != other.side


def _of_one_subject(one: Member, other: Member) -> bool:
    """Whether their groups were one before duplicates joined any."""
    return bool(one.item.own_group) and one.item.own_group == other.item.own_group


def _leak(both: Sequence[Member], detail: str) -> Finding:
    return found("leak", "duplicate", both, f"the same picture in {both[0].side} and {both[1].side}: {detail}")


def _by(members: Iterable[Member], key: Callable[[Item], tuple[Any, ...]]) -> dict[tuple[Any, ...], list[Member]]:
    """Members by what names them; those that have nothing in its first place are left out."""
    together: dict[tuple[Any, ...], list[Member]] = {}
    for member in members:
        if (value := key(member.item))[0]:
            together.setdefault(value, []).append(member)
    return together


def _disagreement(both: Sequence[Member], pair: Duplicate, masks: Sequence[Mapping[str, NDArray[np.uint8]]]) -> str:
    """How the labels of one picture differ; empty where they do not."""
    classes = [member.item.class_name for member in both]
    seen = [f"classes {classes[0]} and {classes[1]}"] if all(classes) and classes[0] != classes[1] else []
    first, second = masks[pair.first], masks[pair.second]
    for name in sorted(first.keys() & second.keys()):
        both_show = carry(np.ones_like(second[name]), pair.transform) > 0.5
        iou = _iou((first[name] > 0) & both_show, (carry(second[name], pair.transform) > 0.5) & both_show)
        below = floor(iou * 1000) / 1000  # rounded, it could read as AGREEMENT itself
        of = f" of {name}" if name else ""
        seen += [f"masks{of} with an IoU of {below:.3f}"] if iou < AGREEMENT else []
    return ", ".join(seen)


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Of two masks; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0
