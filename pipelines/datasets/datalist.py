"""``datalist.json``: what it holds, where its items stand, what must never stand on two sides."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..core.errors import DelineateError, InputError, printable
from ..core.files import write_atomically
from .splitting.splits import SPLITS, Place, Plan

Entry = dict[str, Any]
Trait = tuple[str, str]

UNLABELLED = "unlabelled"
FORMAT = 1
"""Of the file; lists that name none are of format 1, too."""
_LABEL_FIELDS = ("label_is", "label_size", "label_values")
_NOT_PATHS = {"image_sha256", "label_sha256", "pixels_sha256"}


def placed(datalist: Mapping[str, Any]) -> Iterator[tuple[Place, Entry]]:
    """The entries of a data list with their places; what is not labelled has none."""
    for split in SPLITS:
        for entry in datalist.get(split, []):
            yield Place(split, entry.get("fold") if split == "training" else None), entry


def traits(entry: Mapping[str, Any]) -> list[Trait]:
    """What an entry may only share with entries of its own side: its group, its files' and its pixels' hashes.

    Blank images have no ``pixels_sha256``: one black slice is like any other. A folder may hold several DICOM series,
    so they are part of its hash.
    """
    series = f" {entry['series']}" if "series" in entry else ""
    return [
        *(("group", group) for group in as_list(entry.get("group", []))),
        *(("image_sha256", f"{one}{series}") for one in as_list(entry.get("image_sha256", []))),
        *(("pixels_sha256", one) for one in as_list(entry.get("pixels_sha256", []))),
    ]


def content(entry: Mapping[str, Any]) -> str:
    """What names an image wherever it lies: the hash of its file, or files, and the slice."""
    return json.dumps([entry.get(key) for key in ("image_sha256", "series", "slice")])


def straddling(datalist: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """What stands on more than one side: training, validation, test, or the folds of training.

    Args:
        datalist: what ``datalist.json`` holds; entries without group and hashes pass.

    Returns:
        what leaks, e.g. ``"group 'a'"`` or ``"equal pixels of a.png, b.png"``, and its sides, e.g.
        ``["fold 0", "test"]``.
    """
    sides: dict[Trait, dict[str, Entry]] = {}
    for place, entry in placed(datalist):
        for trait in traits(entry):
            sides.setdefault(trait, {}).setdefault(str(place), entry)
    return [(_describe(trait, found), list(found)) for trait, found in sides.items() if len(found) > 1]


def dataset_hash(datalist: Mapping[str, Any]) -> str:
    """The sha256, in hex, of the contents and splits of a data list: the same wherever its files lie.

    How labels are read is part of it: the same files with other values as foreground are other labels.

    Args:
        datalist: what ``datalist.json`` holds.
    """
    lines = []
    for place, entry in placed(datalist):
        more = {key: entry[key] for key in ("series", "slice", "fold", *_LABEL_FIELDS) if key in entry}
        facts = [place.split, entry["image_sha256"], entry.get("label_sha256"), *([more] if more else [])]
        lines.append(json.dumps(facts, sort_keys=True))
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()


def data_hash(dataset_dir: str | Path) -> str:
    """The `dataset_hash` of the data list in a folder."""
    return dataset_hash(open_datalist(dataset_dir))


def in_splits(
    entries: Sequence[Entry], joined: Mapping[str, str], places: Mapping[str, Place]
) -> dict[str, list[Entry]]:
    """The lists of a data list: entries under their splits, with their joined group and, if any, their fold."""
    lists: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for entry in entries:
        split, fold = places[joined[entry["group"]]]
        lists[split].append(regrouped(entry, joined) | ({} if fold is None else {"fold": fold}))
    return lists


def regrouped(entry: Entry, joined: Mapping[str, str]) -> Entry:
    """An entry with the name of its joined group."""
    return entry | {"group": joined[entry["group"]]}


def counts(datalist: Mapping[str, Any], plan: Plan) -> dict[str, int]:
    """Numbers of entries: of training, validation and test, or of each fold and test."""
    found = Counter(place for place, _ in placed(datalist))
    return {str(place): found[place] for place in plan.shares}


def refuse_no_dataset(folder: str | Path) -> None:
    """See that a folder is a data set.

    Raises:
        DelineateError: it is no folder, or holds no ``datalist.json``.
    """
    folder = Path(folder)
    name = printable(folder)
    again = f"index the images first: delineate data index SOURCE --out {name}"
    if folder.is_file():
        remedy = f"name its folder, {printable(folder.parent)}" if folder.name == "datalist.json" else again
        raise DelineateError(f"{name} is a file, not the folder of a data set; {remedy}")
    if not folder.exists():
        raise DelineateError(f"there is no folder {name}; check the path, or {again}")
    if not (folder / "datalist.json").is_file():
        raise DelineateError(f"{name} has no datalist.json; {again}")


def open_datalist(folder: str | Path) -> dict[str, Any]:
    """What ``folder/datalist.json`` holds, its paths as written. Nobody else reads that file.

    Raises:
        DelineateError: the folder is no data set.
        InputError: the data list cannot be read, holds something else, or is of a later format.
    """
    refuse_no_dataset(folder)
    return _load(Path(folder) / "datalist.json")


def _load(path: Path) -> dict[str, Any]:
    try:
        datalist = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no data list ({error})", "index the images again into another folder") from error
    if not isinstance(datalist, dict):
        raise InputError(path, "holds no splits", "index the images again into another folder")
    if (seen := datalist.get("format", FORMAT)) != FORMAT:
        raise InputError(
            path, f"is of format {seen!r}; this version reads {FORMAT}", "update Delineate, or index again"
        )
    return datalist


def read_datalist(folder: Path) -> dict[str, Any]:
    """What ``folder/datalist.json`` holds, with absolute paths.

    Raises:
        DelineateError: the folder is no data set.
        InputError: it cannot be read, or was not written by `write_datalist`.
    """
    datalist, base = open_datalist(folder), os.path.abspath(folder)
    if not all({"group", "image_sha256"} <= entry.keys() for _, entry in placed(datalist)):
        raise InputError(folder, "has items without group or hash", "index the images: delineate data index")
    return _with_paths(datalist, lambda path: os.path.normpath(os.path.join(base, path)))


def older_datalist(out: Path, plan: Plan) -> dict[str, Any]:
    """What ``out`` already holds, as written, if it was split by the same plan; else nothing.

    Raises:
        InputError: it cannot be read, so that its splits would be lost.
    """
    path = out / "datalist.json"
    old = _load(path) if path.exists() else {}
    return old if all(old.get(key) == value for key, value in plan.as_dict().items()) else {}


def refuse_other_source(out: Path, source: str | None) -> None:
    """See that no data set of another source would be lost by writing into ``out``.

    Args:
        out: the folder that a data list is to be written into.
        source: the folder whose images the new data list names; ``None`` where it is not known.

    Raises:
        InputError: ``out`` holds the data list of another source, which is still there, or what is no data list.
    """
    path = out / "datalist.json"
    known = _load(path).get("source") if path.exists() else None
    old = os.path.realpath(out / known) if known else None
    if old and source and old != os.path.realpath(source) and os.path.exists(old):
        raise InputError(out, f"already holds the data set of {old}", f"choose another --out, or remove {path}")


def write_datalist(datalist: Mapping[str, Any], out: Path) -> Path:
    """Write ``out/datalist.json``, so that MONAI's `load_decathlon_datalist` reads it, and return its path.

    Args:
        datalist: with absolute paths; those below ``out`` are written relative.
        out: an absolute folder, made if missing.

    Raises:
        InputError: ``out`` cannot hold the data list.
    """
    _refuse_fields_like_paths(datalist, out)
    path = out / "datalist.json"
    content = {"format": FORMAT, **_with_paths(datalist, lambda name: _path_text(Path(name), out))}
    text = json.dumps(content, indent=2) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise InputError(out, f"cannot be written ({error.strerror})", "choose another --out") from error
    return path


def as_list(value: Any) -> list[Any]:
    """A list as it is, anything else as the only item of one."""
    return value if isinstance(value, list) else [value]


def _describe(trait: Trait, found: Mapping[str, Entry]) -> str:
    kind, value = trait
    images = ", ".join(dict.fromkeys(as_list(entry["image"])[0] for entry in found.values()))
    return {
        "group": f"group {value!r}",
        "image_sha256": f"equal files {images}",
        "pixels_sha256": f"equal pixels of {images}",
    }[kind]


def _path_text(path: Path, out: Path) -> str:
    """Relative to the data list where the path lies below it, absolute elsewhere."""
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path)


def _with_paths(datalist: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The data list with every path in it changed."""

    def changed(paths: Any) -> Any:
        return [change(path) for path in paths] if isinstance(paths, list) else change(paths)

    def moved(records: list[Entry]) -> list[Entry]:
        paths = ("image", "label", "volume", "file", "items")
        return [{key: changed(value) if key in paths else value for key, value in one.items()} for one in records]

    lists = {key: moved(datalist[key]) for key in (*SPLITS, UNLABELLED, "refused", "duplicates") if key in datalist}
    source = {"source": change(datalist["source"])} if "source" in datalist else {}
    return {**datalist, **source, **lists}


def _refuse_fields_like_paths(datalist: Mapping[str, Any], out: Path) -> None:
    """MONAI takes every text of an entry for a path where such a file is there."""
    values = {
        value
        for split in (*SPLITS, UNLABELLED)
        for entry in datalist.get(split, [])
        for key, field in entry.items()
        if key not in {"image", "label", "volume"} | _NOT_PATHS
        for value in as_list(field)
        if isinstance(value, str)
    }
    for value in sorted(values):
        if os.path.exists(out / value):
            reason = f"holds an entry {value!r}, as which MONAI would read the field {value!r}"
            raise InputError(out, reason, "choose another --out")
