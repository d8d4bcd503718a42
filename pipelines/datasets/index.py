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
from typing import TypedDict

from ..core.errors import DelineateError, InputError, UnknownNameError, counted
from ..imaging.item import Item, Split
from ..imaging.structures import structures_of
from ..imaging.volumes.slicing import Slicing
from .check import Checked, Progress, check_all, notes_of_checks
from .datalist import Datalist, Part, Repeat, in_splits, older_datalist, refuse_other_source, regrouped
from .groups import (
    Move,
    Pair,
    audited_pairs,
    equal_pairs,
    grouped_by_folder,
    join_groups,
    near_pairs,
    note_of_patients,
    official_splits,
    place_groups,
    refuse_one_folder,
    repeats,
)
from .layouts import LAYOUTS, Found, dicom_series, explain
from .layouts.base import NO_MASK
from .leftovers import leftovers
from .predictions import note_of_corrected, with_drafts_marked, without_predictions
from .slices import cut_volumes
from .splitting.splits import FRACTIONS, Plan
from .structures import Missing, Shown, Values, count_shown, names_of, refuse_values_of_nothing, with_structures

FEW = 5
"""Groups below which the scores of a split say little."""

_REASONS = 3  # why nothing is left
_NAMED = 4  # folders in the name of a data set

_GROUP_IS_IMAGE = ("isic", "jsrt", "kvasir", "paired", "ph2")
"""Layouts that know of no patients, so that an image without a mask is a group, too."""


@dataclass(frozen=True)
class IndexReport:
    """What `index_dataset` found.

    Attributes:
        layout: its name.
        reason: by what it was recognised.
        splits: numbers of images by split, or by fold and test.
        classes: numbers of labelled images by class.
        structures: by name, how many images show it, show none of it, and are not annotated; empty of one structure.
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
    structures: dict[str, Shown]
    refused: list[InputError]
    notes: list[str]
    duplicates: int
    near_duplicates: int
    unlabelled: int
    moved: list[Move]
    few: dict[str, int]
    path: Path


def index_dataset(
    source: str | Path | Sequence[str | Path],
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
    structures: Values | None = None,
    missing: Missing = "not annotated",
    resize_masks: bool = False,
    unlabelled: bool = False,
    corrected: bool = False,
    group_by_folder: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Read a folder of images and masks, or several as one, and write ``out/datalist.json``.

    Groups that share an image, or one that looks alike, get one name, so that no split ever cuts them apart. An
    official split is kept; of a group that is in several of its splits only the test (else the validation) items stay.
    Groups that an older data list in ``out`` has, split with the same fractions, seed and folds, keep their places.

    Args:
        source: the folder, as downloaded; of several, each item keeps the name of its folder as its ``source``, which
            its group begins with.
        layout: a name of `LAYOUTS`, or ``auto``: that of each folder.
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
            (its palette's indices, its grey values), the segments of a DICOM SEG. All are one structure.
        structures: the same by structure, where a label holds several; else as the source names them: folders, columns
            of a table, the labels of a ``dataset.json``.
        missing: what it means that an image has no file of a structure which others have: nobody annotated it, or
            there is none of it.
        resize_masks: whether masks of another size, but the same proportions, are resized to their image's.
        unlabelled: whether pictures without a mask are kept, in no split; else they are refused, but for those of
            layouts in which a label may be missing (``csv``, ``dicom``, ``nifti``).
        corrected: whether masks that Delineate drew, as a ``results.csv`` beside them says, were corrected by a person
            and are labels; else they are refused.
        group_by_folder: whether each folder of ``source`` is a group, e.g. a patient, all of whose images stay in one
            split.
        progress: called with the numbers of items done and of all items.

    Raises:
        InputError: ``source`` does not have the layout, or ``out`` cannot hold the data list or has another source's.
        DelineateError: nothing usable is left, or has the foreground asked for; the fractions or folds are wrong;
            one folder alone cannot be divided by folders.
        UnknownNameError: no such layout or class.
    """
    plan = Plan(tuple(fractions), seed, folds)
    sources, out = _sources([source] if isinstance(source, str | Path) else source), Path(os.path.abspath(out))
    refuse_other_source(out, list(sources.values()))
    if group_by_folder:
        refuse_one_folder(list(sources.values()))
    old = older_datalist(out, plan)
    layouts = {name: _choose_layout(one, layout) for name, one in sources.items()}
    slicing = slicing or (Slicing("axial") if "nifti" in (one for one, _ in layouts.values()) else None)
    items, unpaired = without_predictions(*_find_all(sources, layouts, slicing, unlabelled), corrected)
    items = with_drafts_marked(items) if corrected else items
    items = with_structures(_of_classes(items, classes), labels, structures, missing)
    items, uncut = cut_volumes(items, slicing, drop_empty)
    if slicing:
        slicing = replace(slicing, modalities=max((len(item.files) for item in items), default=1))
    checked, unreadable = check_all(items, slicing or Slicing(), resize_masks, progress or (lambda done, total: None))
    refused = [*unpaired, *uncut, *unreadable]
    found = [one.item for one in checked]
    _refuse_nothing(sources, found, refused)
    if group_by_folder:
        found = grouped_by_folder(found)
        checked = [replace(one, item=item) for one, item in zip(checked, found, strict=True)]
    refuse_values_of_nothing(next(iter(sources.values())), found, labels, structures)
    pairs = _find_pairs(checked, near_duplicates and not (slicing and slicing.axis), out)
    splits, leaks, moved = _split(checked, pairs, plan, old)
    named = structures_of([{"name": name} for name in names_of(found)])
    head = replace(_head(sources, layouts), folder=out, plan=plan)
    known = group_by_folder or splits["official_split"]
    notes = [*_notes(found), *notes_of_checks(checked)]
    notes += [] if known else note_of_patients([one for one, _ in layouts.values()])
    datalist = replace(head, slicing=slicing, structures=named, refused=refused + leaks, notes=notes, **splits)
    datalist.write()
    return _report(datalist, pairs, moved)


def _sources(given: Sequence[str | Path]) -> dict[str, Path]:
    """The folders by name: the last parts of their paths, as many as tell them apart."""
    paths = [Path(os.path.abspath(one)) for one in given]
    if not paths or len({os.path.realpath(one) for one in paths}) < len(paths):
        raise DelineateError(f"the sources are {', '.join(map(str, paths)) or 'none'}; name each folder once")
    most = max(len(one.parts) for one in paths)
    named = ({Path(*one.parts[-count:]).as_posix(): one for one in paths} for count in range(1, most + 1))
    return next(names for names in named if len(names) == len(paths))


def _head(sources: Mapping[str, Path], layouts: Mapping[str, tuple[str, str]]) -> Datalist:
    """A data list that says where its items are from."""
    reasons = [reason if len(sources) == 1 else f"{name} {reason}" for name, (_, reason) in layouts.items()]
    if len(layouts) > 1 and len(set(layouts.values())) == 1:
        reasons = [f"each of {len(layouts)} folders {next(iter(layouts.values()))[1]}"]
    return Datalist(
        folder=Path(),
        name=_name(sources),
        sources=tuple(sources.values()),
        layout=" + ".join(dict.fromkeys(layout for layout, _ in layouts.values())),
        recognised="; ".join(reasons),
    )


def _name(sources: Mapping[str, Path]) -> str:
    """Of the data set: that of its folder; of a few all, of many that of the folder which holds them."""
    if len(sources) == 1:
        return next(iter(sources.values())).name
    if len(sources) <= _NAMED:
        return " + ".join(sources)
    return f"{Path(os.path.commonpath(sources.values())).name}, {len(sources)} folders"


def _find_all(
    sources: Mapping[str, Path], layouts: Mapping[str, tuple[str, str]], slicing: Slicing | None, unlabelled: bool
) -> Found:
    """What is found in each folder; of several, items and groups have its name."""
    items: list[Item] = []
    refused: list[InputError] = []
    for name, source in sources.items():
        found, errors = _find_items(source, layouts[name][0], slicing)
        if unlabelled:
            found, errors = _with_unlabelled(found, errors, layouts[name][0])
        several = len(sources) > 1
        items += [replace(one, source=name, group=f"{name} {one.group}") for one in found] if several else found
        refused += errors
    return items, refused


def _refuse_nothing(sources: Mapping[str, Path], items: Sequence[Item], refused: Sequence[InputError]) -> None:
    """See that a usable image is left in each folder.

    Raises:
        DelineateError: in one there is none.
    """
    there = {item.source for item in items}
    for name, source in sources.items():
        if (name if len(sources) > 1 else "") not in there:
            raise _nothing_left(source, [one for one in refused if Path(one.source).is_relative_to(source)] or refused)


def _find_items(source: Path, layout: str, slicing: Slicing | None) -> Found:
    """What a layout finds; with an axis to cut along, DICOM series, not files."""
    items, unpaired = (dicom_series if slicing and layout == "dicom" else LAYOUTS[layout].read)(source)
    return items, [*unpaired, *leftovers(source, layout, items, unpaired)]


def _with_unlabelled(items: list[Item], unpaired: list[InputError], layout: str) -> Found:
    """What a layout found, with the pictures that it refused because they have no mask."""
    bare = [error for error in unpaired if error.reason == NO_MASK]
    if bare and layout not in _GROUP_IS_IMAGE:
        raise DelineateError(
            f"--unlabelled: {bare[0].source} has no mask, and the layout {layout} does not say whose image it is; "
            "list the images in a table with the columns image, label (empty) and group: --layout csv"
        )
    found = [Item.of(Path(error.source), group=Path(error.source).stem) for error in bare]
    return items + found, [error for error in unpaired if error.reason != NO_MASK]


def _find_pairs(checked: Sequence[Checked], near_duplicates: bool, out: Path) -> list[Pair]:
    """Equal and similar images, and what an audit in ``out`` found besides."""
    items = [one.item for one in checked]
    near = near_pairs(items, [one.signature for one in checked]) if near_duplicates else []
    pairs = equal_pairs(items) + near
    ends = {pair[:2] for pair in pairs}
    return pairs + [pair for pair in audited_pairs(items, out) if not pair.exact and pair[:2] not in ends]


class _Splits(TypedDict):
    """What of a data list the split decides."""

    lists: dict[Part, Sequence[Item]]
    official_split: bool
    official: dict[str, Split]
    duplicates: list[Repeat]


def _split(
    checked: Sequence[Checked], pairs: Sequence[Pair], plan: Plan, old: Datalist | None
) -> tuple[_Splits, list[InputError], list[Move]]:
    """The lists of the data list and what they stand on, what leaks out of official splits, and what moved."""
    items = [one.item for one in checked]
    joined = join_groups(items, pairs)
    labelled = [item for item in items if item.label]
    official = official_splits(((item.group, item.official) for item in labelled), joined)
    kept, leaks = _without_leaks(labelled, joined, official, plan)
    places, moved = place_groups(kept, joined, plan, old, official)
    splits: _Splits = {
        "lists": in_splits(kept, joined, places)
        | {"unlabelled": [regrouped(item, joined) for item in items if not item.label]},
        "official_split": bool(official),
        "official": official,
        "duplicates": repeats(items, pairs),
    }
    return splits, leaks, moved


def _report(datalist: Datalist, pairs: Sequence[Pair], moved: list[Move]) -> IndexReport:
    classes = Counter(item.class_name for _, item in datalist.labelled() if item.class_name)
    return IndexReport(
        layout=datalist.layout,
        reason=datalist.recognised,
        splits=datalist.counts(),
        classes=dict(sorted(classes.items())),
        structures=count_shown((item for _, item in datalist.labelled()), datalist.structures),
        refused=list(datalist.refused),
        notes=list(datalist.notes),
        duplicates=len({pair.second for pair in pairs if pair.exact}),
        near_duplicates=sum(not one.exact for one in datalist.duplicates),
        unlabelled=len(datalist.part("unlabelled")),
        moved=moved,
        few=_few(datalist),
        path=datalist.path,
    )


def _few(datalist: Datalist) -> dict[str, int]:
    """Numbers of groups in splits to judge by, where they are below `FEW`; nothing where no image is labelled."""
    shares = datalist.plan.shares if datalist.plan else {}
    groups: dict[str, set[str]] = {str(place): set() for place, share in shares.items() if share}
    for place, item in datalist.labelled():
        groups.setdefault(str(place), set()).add(item.group)
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
    known = sorted({item.class_name for item in items} - {""})
    if classes and not known:
        raise DelineateError(
            "--classes: no image has a class here; leave it out, or name classes in a table (layout csv)"
        )
    for name in classes or ():
        if name not in known:
            raise UnknownNameError("class", name, known)
    return [item for item in items if classes is None or item.class_name in classes]


def _notes(items: Sequence[Item]) -> list[str]:
    """How pairs were found and masks are read, where that is not as a matter of course."""
    rules = Counter(item.rule for item in items if item.rule)
    notes = [f"{counted(number, 'pair')} by name: {rule}" for rule, number in sorted(rules.items())]
    if number := sum(item.label_is == "jpeg" for item in items):
        notes.append(f"{counted(number, 'JPEG mask')} black and white but for compression: cut at 128")
    if number := sum(item.label_size is not None for item in items):
        mask = counted(number, "mask")
        notes.append(f"{mask} of another size, resized to the size of the image by the nearest pixel")
    return notes + note_of_corrected(items)


def _without_leaks(
    items: Sequence[Item], joined: Mapping[str, str], official: Mapping[str, Split], plan: Plan
) -> tuple[list[Item], list[InputError]]:
    """The items whose official split is their group's, and a refusal of each other; to folds, all but test is one."""
    kept: list[Item] = []
    leaks: list[InputError] = []
    for item in items:
        mine, group = item.official, joined[item.group]
        if mine in (None, official.get(group)) or (plan.folds and "test" not in (mine, official.get(group))):
            kept.append(item)
        else:
            reason = (
                f"is of the official {mine} split, but its group {group} (or a duplicate) is in {official[group]} too"
            )
            leaks.append(InputError(item.file, reason, "left out; give each group one split to keep it"))
    return kept, leaks


def _nothing_left(source: Path, refused: Sequence[InputError]) -> DelineateError:
    reasons = Counter(error.reason for error in refused)
    others = "; ".join(
        f"{number} {reason}" for reason, number in reasons.most_common(_REASONS) if number < len(refused)
    )
    first = f"; the first of {len(refused)} refusals: {refused[0]}" if refused else ""
    return DelineateError(f"{source}: no usable image is left{first}{f' (in all: {others})' if others else ''}")
