"""From a folder as downloaded to a data set: a ``datalist.json`` whose splits cannot leak.

Every image and mask is decoded once; what cannot be used is listed by file, reason and remedy. Nothing is
copied.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import DelineateError, InputError, UnknownNameError, counted
from ..imaging.volumes.slicing import Slicing
from .check import Checked, Progress, check_all
from .datalist import (
    UNLABELLED,
    Entry,
    counts,
    dataset_hash,
    in_splits,
    older_datalist,
    placed,
    refuse_other_source,
    regrouped,
    write_datalist,
)
from .groups import (
    Move,
    Pair,
    audited_pairs,
    equal_pairs,
    join_groups,
    near_pairs,
    official_splits,
    place_groups,
    records,
)
from .layouts import LAYOUTS, Item, dicom_series, explain
from .leftovers import leftovers
from .slices import cut
from .splitting.splits import FRACTIONS, Plan, Split

__all__ = ["IndexReport", "dataset_hash", "index_dataset"]

FEW = 5
"""Groups below which the scores of a split say little."""


@dataclass(frozen=True)
class IndexReport:
    """What `index_dataset` found.

    Attributes:
        layout: its name.
        reason: by what it was recognised.
        splits: numbers of images by split, or by fold and test.
        classes: numbers of labelled images by class.
        refused: what was left out.
        notes: how pairs were found and masks are read, where that is not as a matter of course.
        duplicates: number of images whose file or pixels equal an earlier one's.
        near_duplicates: number of pairs of images that look alike but are not equal.
        unlabelled: number of images without label.
        moved: groups that could not stay where an older data list had them.
        few: of splits to judge by (validation, test, folds) that have less than `FEW` groups, how many they have.
        path: of the data list.
    """

    layout: str
    reason: str
    splits: dict[str, int]
    classes: dict[str, int]
    refused: list[InputError]
    notes: list[str]
    duplicates: int
    near_duplicates: int
    unlabelled: int
    moved: list[Move]
    few: dict[str, int]
    path: Path


def index_dataset(
    source: str | Path,
    layout: str = "auto",
    *,
    out: str | Path,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    folds: int | None = None,
    classes: Sequence[str] | None = None,
    near_duplicates: bool = True,
    slicing: Slicing | None = None,
    drop_empty: bool = False,
    labels: Sequence[int] | None = None,
    resize_masks: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Read a folder of images and masks and write ``out/datalist.json``.

    Groups that share an image, or one that looks alike, get one name, so that no split ever cuts them apart. An
    official split is kept; of a group that is in several of its splits only the test (else the validation) items stay.
    Groups that an older data list in ``out`` has, split with the same fractions, seed and folds, keep their places.

    Args:
        source: the folder, as downloaded.
        layout: a name of `LAYOUTS`, or ``auto``.
        out: the data set's folder, made if missing; paths below it are written relative, others absolute.
        fractions: the shares of training, validation and test.
        seed: of the split.
        folds: split training and validation into so many folds, which stand under ``training``; see `Plan`.
        classes: keep only items of these classes, all where ``None``.
        near_duplicates: whether images that look alike are sought; equal ones always are. Slices of volumes are never
            compared so: those of two patients do look alike.
        slicing: how volumes become images; axial slices where ``None`` and the layout is one of volumes.
        drop_empty: whether slices without foreground are left out.
        labels: the values of a label that are foreground: of a label volume (all but 0 where ``None``), of a picture
            (its palette's indices, its grey values), the segments of a DICOM SEG.
        resize_masks: whether masks of another size, but the same proportions, are resized to their image's.
        progress: called with the numbers of items done and of all items.

    Raises:
        InputError: ``source`` does not have the layout, or ``out`` cannot hold the data list or has another source's.
        DelineateError: nothing usable is left, or has the foreground asked for; the fractions or folds are wrong.
        UnknownNameError: no such layout or class.
    """
    plan = Plan(tuple(fractions), seed, folds)
    source, out = Path(os.path.abspath(source)), Path(os.path.abspath(out))
    refuse_other_source(out, str(source))
    old = older_datalist(out, plan)
    layout, reason = _choose_layout(source, layout)
    slicing = slicing or (Slicing("axial") if layout == "nifti" else None)
    items, unpaired = (dicom_series if slicing and layout == "dicom" else LAYOUTS[layout].read)(source)
    unpaired += leftovers(source, layout, items, unpaired)
    items, uncut = cut(_of_classes(items, classes), slicing, drop_empty, labels)
    if labels:
        items = [_with_values(item, labels) for item in items]
    if slicing:
        slicing = replace(slicing, modalities=max((1 + len(item.modalities) for item in items), default=1))
    checked, unreadable = check_all(items, slicing or Slicing(), resize_masks, progress or (lambda done, total: None))
    refused = [*unpaired, *uncut, *unreadable]
    if not checked:
        raise _nothing_left(source, refused)
    if labels and not any(one.entry.get("area") for one in checked):
        raise DelineateError(
            f"{source}: no label has the values {', '.join(map(str, labels))}; see which ones there are"
        )
    pairs = _find_pairs(checked, near_duplicates and not (slicing and slicing.axis), out)
    lists, leaks, moved = _deal(checked, pairs, plan, old)
    refused += leaks
    head = {"name": source.name, "layout": layout, "recognised": reason, "source": str(source), **plan.as_dict()}
    head |= {"slicing": slicing.as_dict() if slicing else None}
    head |= {"refused": [{"file": one.source, "reason": one.reason, "remedy": one.remedy} for one in refused]}
    head |= {"notes": _notes(checked)}
    path = write_datalist(head | lists, out)
    return _report(head | lists, plan, refused, pairs, moved, path)


def _find_pairs(checked: Sequence[Checked], near_duplicates: bool, out: Path) -> list[Pair]:
    """Equal and similar images, and what an audit in ``out`` found besides."""
    entries = [one.entry for one in checked]
    near = near_pairs(entries, [one.signature for one in checked]) if near_duplicates else []
    pairs = equal_pairs(entries) + near
    ends = {pair[:2] for pair in pairs}
    return pairs + [pair for pair in audited_pairs(entries, out) if not pair.exact and pair[:2] not in ends]


def _deal(
    checked: Sequence[Checked], pairs: Sequence[Pair], plan: Plan, old: Mapping[str, Any]
) -> tuple[dict[str, Any], list[InputError], list[Move]]:
    """The lists of the data list and what they stand on, what leaks out of official splits, and what moved."""
    entries = [one.entry for one in checked]
    joined = join_groups(entries, pairs)
    labelled = [one for one in checked if one.item.label]
    official = official_splits(((one.item.group, one.item.official) for one in labelled), joined)
    kept, leaks = _part_leaks(labelled, joined, official, plan)
    places, moved = place_groups(kept, joined, plan, old, official)
    lists = {
        "official_split": bool(official),
        "official": official,
        "duplicates": records(entries, pairs),
        **in_splits(kept, joined, places),
        UNLABELLED: [regrouped(one.entry, joined) for one in checked if not one.item.label],
    }
    return lists, leaks, moved


def _report(
    datalist: Mapping[str, Any],
    plan: Plan,
    refused: list[InputError],
    pairs: Sequence[Pair],
    moved: list[Move],
    path: Path,
) -> IndexReport:
    classes = Counter(entry["class"] for _, entry in placed(datalist) if "class" in entry)
    return IndexReport(
        layout=datalist["layout"],
        reason=datalist["recognised"],
        splits=counts(datalist, plan),
        classes=dict(sorted(classes.items())),
        refused=refused,
        notes=datalist["notes"],
        duplicates=len({pair.second for pair in pairs if pair.exact}),
        near_duplicates=sum(not one["exact"] for one in datalist["duplicates"]),
        unlabelled=len(datalist[UNLABELLED]),
        moved=moved,
        few=_few(datalist, plan),
        path=path,
    )


def _few(datalist: Mapping[str, Any], plan: Plan) -> dict[str, int]:
    """Numbers of groups in splits to judge by, where they are below `FEW`; nothing where no image is labelled."""
    groups: dict[str, set[str]] = {str(place): set() for place, share in plan.shares.items() if share}
    for place, entry in placed(datalist):
        groups.setdefault(str(place), set()).add(entry["group"])
    judging = {name: len(found) for name, found in groups.items() if name != "training"}
    return {name: number for name, number in judging.items() if number < FEW} if any(groups.values()) else {}


def _choose_layout(source: Path, name: str) -> tuple[str, str]:
    """The layout's name, and by what it was recognised."""
    if name not in ("auto", *LAYOUTS):
        raise UnknownNameError("layout", name, ["auto", *LAYOUTS])
    if name == "auto" or not source.is_dir():
        found, reason = explain(source)
        if name in ("auto", found):
            return found, reason
    elif reason := LAYOUTS[name].matches(source):
        return name, reason
    raise InputError(source, f"does not have the layout {name}", f"needed is {LAYOUTS[name].needs}")


def _of_classes(items: list[Item], classes: Sequence[str] | None) -> list[Item]:
    known = sorted({item.fields["class"] for item in items if "class" in item.fields})
    if classes and not known:
        raise DelineateError(
            "--classes: no image has a class here; leave it out, or name classes in a table (layout csv)"
        )
    for name in classes or ():
        if name not in known:
            raise UnknownNameError("class", name, known)
    return [item for item in items if classes is None or item.fields.get("class") in classes]


def _with_values(item: Item, labels: Sequence[int]) -> Item:
    return replace(item, fields={**item.fields, "label_values": list(labels)}) if item.label else item


def _notes(checked: Sequence[Checked]) -> list[str]:
    """How pairs were found and masks are read, where that is not as a matter of course."""
    rules = Counter(one.item.rule for one in checked if one.item.rule)
    ways = {
        ("JPEG mask", "black and white but for compression: cut at 128"): ("label_is", "jpeg"),
        ("mask", "of another size, resized to the size of the image by the nearest pixel"): ("label_size", None),
    }
    entries = [one.entry for one in checked]
    notes = [f"{counted(number, 'pair')} by name: {rule}" for rule, number in sorted(rules.items())]
    for (noun, way), (key, value) in ways.items():
        number = sum(key in entry and value in (None, entry[key]) for entry in entries)
        notes += [f"{counted(number, noun)} {way}"] if number else []
    return notes


def _part_leaks(
    checked: Sequence[Checked], joined: Mapping[str, str], official: Mapping[str, Split], plan: Plan
) -> tuple[list[Entry], list[InputError]]:
    """The entries whose official split is their group's, and a refusal of each other; to folds, all but test is one."""
    kept: list[Entry] = []
    leaks: list[InputError] = []
    for one in checked:
        mine, group = one.item.official, joined[one.item.group]
        if mine in (None, official.get(group)) or (plan.folds and "test" not in (mine, official.get(group))):
            kept.append(one.entry)
        else:
            reason = (
                f"is of the official {mine} split, but its group {group} (or a duplicate) is in {official[group]} too"
            )
            leaks.append(InputError(one.item.image, reason, "left out; give each group one split to keep it"))
    return kept, leaks


def _nothing_left(source: Path, refused: Sequence[InputError]) -> DelineateError:
    first = f"; the first of {len(refused)} refusals: {refused[0]}" if refused else ""
    return DelineateError(f"{source}: no usable image is left{first}")
