"""From a folder as downloaded to a data set: a ``datalist.json`` whose splits cannot leak.

Every image and mask is decoded once; what cannot be used is listed by file, reason and remedy. Nothing is
copied.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import DelineateError, InputError, UnknownNameError
from ..files import write_atomically
from ..images import read_image, read_mask, size_text
from .layouts import LAYOUTS, Item, detect
from .splits import FRACTIONS, SPLITS, Split, check_fractions, split_groups

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class IndexReport:
    """What `index_dataset` found; ``duplicates`` counts images whose pixels equal an earlier one's."""

    layout: str
    splits: dict[str, int]
    classes: dict[str, int]
    refused: list[InputError]
    duplicates: int
    path: Path


@dataclass(frozen=True)
class _Checked:
    """An item whose files were decoded; hashes in hex."""

    item: Item
    size: tuple[int, int]
    pixels: str
    image_sha256: str
    label_sha256: tuple[str, ...]


def index_dataset(
    source: str | Path,
    layout: str = "auto",
    *,
    out: str | Path,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Read a folder of images and masks and write ``out/datalist.json`` (an older one is replaced).

    Images whose decoded pixels are equal get one group, so that no split ever cuts them apart. An official
    split is kept; of a group that is in several of its splits only the test (else the validation) items stay.

    Args:
        source: the folder, as downloaded.
        layout: a name of `LAYOUTS`, or ``auto``.
        out: the data set's folder, made if missing; paths below it are written relative, others absolute.
        fractions: the shares of training, validation and test.
        seed: of the split.
        classes: keep only items of these classes, all where ``None``.
        progress: called with the numbers of items done and of all items.

    Raises:
        InputError: ``source`` does not have the layout, or ``out`` cannot hold the data list.
        DelineateError: nothing usable is left; the fractions are wrong.
        UnknownNameError: no such layout or class.
    """
    check_fractions(fractions)
    source, out = Path(os.path.abspath(source)), Path(os.path.abspath(out))
    layout = _choose_layout(source, layout)
    items, refused = LAYOUTS[layout].read(source)
    items = _of_classes(items, classes)
    checked, unreadable = _check_all(items, progress or (lambda done, total: None))
    checked = _join_duplicates(checked)
    splits = _split(checked, fractions, seed)
    kept, leaks = _part_leaks(checked, splits)
    refused = [*refused, *unreadable, *leaks]
    if not kept:
        raise _nothing_left(source, refused)
    entries = {split: [one for one in kept if splits[one.item.group] == split] for split in SPLITS}
    datalist: dict[str, Any] = {
        "name": source.name,
        "layout": layout,
        "source": _path_text(source, out),
        "seed": seed,
        "fractions": list(fractions),
        "official_split": any(one.item.official for one in kept),
        "refused": [_refusal(error, out) for error in refused],
    }
    datalist |= {split: [_entry(one, out) for one in members] for split, members in entries.items()}
    counts = Counter(one.item.fields["class"] for one in kept if "class" in one.item.fields)
    return IndexReport(
        layout=layout,
        splits={split: len(members) for split, members in entries.items()},
        classes=dict(sorted(counts.items())),
        refused=refused,
        duplicates=len(kept) - len({one.pixels for one in kept}),
        path=_write(datalist, out),
    )


def dataset_hash(datalist: Mapping[str, Any]) -> str:
    """The sha256, in hex, of the contents and splits of a data list: the same wherever its files lie.

    Args:
        datalist: what ``datalist.json`` holds.
    """
    lines = [
        json.dumps([split, entry["image_sha256"], entry.get("label_sha256")])
        for split in SPLITS
        for entry in datalist.get(split, [])
    ]
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _choose_layout(source: Path, name: str) -> str:
    if name not in ("auto", *LAYOUTS):
        raise UnknownNameError("layout", name, ["auto", *LAYOUTS])
    if name == "auto" or not source.is_dir():
        return detect(source)
    if not LAYOUTS[name].matches(source):
        raise InputError(source, f"does not have the layout {name}", f"needed is {LAYOUTS[name].needs}")
    return name


def _of_classes(items: list[Item], classes: Sequence[str] | None) -> list[Item]:
    known = sorted({item.fields["class"] for item in items if "class" in item.fields})
    for name in classes or ():
        if name not in known:
            raise UnknownNameError("class", name, known)
    return [item for item in items if classes is None or item.fields.get("class") in classes]


def _check_all(items: Sequence[Item], progress: Progress) -> tuple[list[_Checked], list[InputError]]:
    checked: list[_Checked] = []
    refused: list[InputError] = []
    with ThreadPoolExecutor(max_workers=2) as pool:  # decoding leaves the interpreter free
        for done, result in enumerate(pool.map(_check, items), start=1):
            if isinstance(result, InputError):
                refused.append(result)
            else:
                checked.append(result)
            progress(done, len(items))
    return checked, refused


def _check(item: Item) -> _Checked | InputError:
    """Decode an item's files and compare their sizes."""
    try:
        image, mask = read_image(item.image, "rgb"), read_mask(item.label)
    except InputError as error:
        return error
    if image.shape[:2] != mask.shape:
        reason = f"image is {size_text(image)}, mask {item.label[0].name} is {size_text(mask)}"
        return InputError(item.image, reason, "take the mask drawn on this very image, or remove the pair")
    return _Checked(
        item=item,
        size=(image.shape[0], image.shape[1]),
        pixels=sha256(repr(image.shape).encode() + image.tobytes()).hexdigest(),
        image_sha256=_file_hash(item.image),
        label_sha256=tuple(_file_hash(label) for label in item.label),
    )


def _file_hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _join_duplicates(checked: Sequence[_Checked]) -> list[_Checked]:
    """Give groups that share an image with equal pixels one name, the first of theirs."""
    parent = {one.item.group: one.item.group for one in checked}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    first: dict[str, str] = {}
    for one in checked:
        ends = root(first.setdefault(one.pixels, one.item.group)), root(one.item.group)
        parent[max(ends)] = min(ends)
    return [replace(one, item=replace(one.item, group=root(one.item.group))) for one in checked]


def _split(checked: Sequence[_Checked], fractions: Sequence[float], seed: int) -> dict[str, Split]:
    """The split of each group: the official one, or one dealt in equal proportions of the classes."""
    classes: dict[str, set[str]] = {}
    official: dict[str, Split] = {}
    for one in checked:
        classes.setdefault(one.item.group, set()).add(one.item.fields.get("class", ""))
        if one.item.official:
            rivals = (official.get(one.item.group, "training"), one.item.official)
            official[one.item.group] = max(rivals, key=SPLITS.index)
    strata = {group: "+".join(sorted(names)) for group, names in classes.items()}
    return official or split_groups(strata, fractions, seed)


def _part_leaks(checked: Sequence[_Checked], splits: Mapping[str, Split]) -> tuple[list[_Checked], list[InputError]]:
    """The items that are in the split of their group, and a refusal of each that officially is in another."""
    kept: list[_Checked] = []
    leaks: list[InputError] = []
    for one in checked:
        official, group = one.item.official, one.item.group
        if official in (None, splits[group]):
            kept.append(one)
        else:
            reason = f"is a duplicate: of the {official} split, but its group {group} is in {splits[group]} too"
            leaks.append(InputError(one.item.image, reason, "left out; nothing to do"))
    return kept, leaks


def _nothing_left(source: Path, refused: Sequence[InputError]) -> DelineateError:
    first = f"; the first of {len(refused)} refusals: {refused[0]}" if refused else ""
    return DelineateError(f"{source}: no usable pair of image and mask is left{first}")


def _path_text(path: Path, out: Path) -> str:
    """Relative to the data list where the path lies below it, absolute elsewhere."""
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path)


def _refusal(error: InputError, out: Path) -> dict[str, str]:
    return {"file": _path_text(Path(error.source), out), "reason": error.reason, "remedy": error.remedy}


def _entry(one: _Checked, out: Path) -> dict[str, Any]:
    """An item as MONAI's `load_decathlon_datalist` reads it; one mask is a string, several are a list."""
    labels = [_path_text(label, out) for label in one.item.label]
    fields = {"group": one.item.group, **one.item.fields}
    for value in fields.values():
        if os.path.exists(out / value):
            reason = f"holds an entry {value!r}, as which MONAI would read the field {value!r}"
            raise InputError(out, reason, "choose another --out")
    return {
        "image": _path_text(one.item.image, out),
        "label": labels[0] if len(labels) == 1 else labels,
        **fields,
        "size": list(one.size),
        "image_sha256": one.image_sha256,
        "label_sha256": one.label_sha256[0] if len(labels) == 1 else list(one.label_sha256),
    }


def _write(datalist: Mapping[str, Any], out: Path) -> Path:
    path = out / "datalist.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(datalist, indent=2) + "\n").encode())
    except OSError as error:
        raise InputError(out, f"cannot be written ({error.strerror})", "choose another --out") from error
    return path
