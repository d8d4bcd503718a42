"""``datalist.json``, which is read and written here alone: the items of a data set, where they stand, and why."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ..core.errors import DelineateError, InputError, permission_denied, printable
from ..core.files import keep_aside, write_atomically
from ..imaging.filetypes import IMAGE_SUFFIXES
from ..imaging.item import Fields, Item, Split
from ..imaging.structures import Structure, structures_of
from ..imaging.volumes.formats import volume_suffix
from ..imaging.volumes.slicing import Slicing
from .splitting.splits import SPLITS, Place, Plan

logger = logging.getLogger(__name__)
Part = Literal["training", "validation", "test", "unlabelled"]
Trait = tuple[str, str]

PARTS: tuple[Part, ...] = get_args(Part)
FORMAT = 1
"""Of the file; lists that name none are of format 1, too."""
_LABEL_FIELDS = ("label_is", "label_size", "label_values", "structures")
_AGAIN = "index the images again into another folder"
_LOOKED_AT = 1000  # files of a folder that is no data set
_NOT_PATHS = {"image", "label", "volume", "image_sha256", "label_sha256", "pixels_sha256"}


class Repeat(NamedTuple):
    """Two images, or volumes, that show the same; ``exact`` where files or pixels are equal."""

    first: Path
    second: Path
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Datalist:
    """What ``datalist.json`` holds, all paths absolute.

    Attributes:
        folder: the data set's, where the file lies.
        lists: the items of each split, all but the test set under ``training`` where there are folds; those without a
            label under ``unlabelled``.
        name: of the data set, for people.
        sources: the folders whose images it names, most often one.
        layout: of the source, and ``recognised``, by what that was seen.
        plan: how it was split; ``None`` where somebody else did it.
        slicing: how volumes became images; ``None`` of pictures.
        structures: what the labels are of, in order; empty where that is one structure without a name.
        official_split: whether the publishers' validation and test sets were kept; ``official`` says where groups were.
        duplicates: what shows the same.
        refused: what was left out, and why.
        notes: how pairs were found and masks are read, where that is not as a matter of course.
        more: what else the file says.
    """

    folder: Path
    lists: Mapping[Part, Sequence[Item]] = field(default_factory=dict)
    name: str = ""
    sources: tuple[Path, ...] = ()
    layout: str = ""
    recognised: str = ""
    plan: Plan | None = None
    slicing: Slicing | None = None
    structures: tuple[Structure, ...] = ()
    official_split: bool = False
    official: Mapping[str, Split] = field(default_factory=dict)
    duplicates: Sequence[Repeat] = ()
    refused: Sequence[InputError] = ()
    notes: Sequence[str] = ()
    more: Fields = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path) -> Datalist:
        """The data list of a folder.

        Raises:
            DelineateError: the folder is no data set.
            InputError: the data list cannot be read, holds something else, or is of a later format.
        """
        refuse_no_dataset(folder)
        return _read(Path(folder) / "datalist.json")

    @classmethod
    def from_json(cls, folder: Path, content: Mapping[str, Any]) -> Datalist:
        """From what the file of a folder holds, whose relative paths start from there."""
        content = dict(content)

        def absolute(path: str) -> str:
            return os.path.normpath(folder / path)

        def item(fields: dict[str, Any]) -> Item:
            if not fields.get("image"):
                raise ValueError("an item has no image")
            paths = {key: fields[key] for key in ("image", "label", "volume") if fields.get(key) is not None}
            for key, value in paths.items():
                paths[key] = absolute(value) if isinstance(value, str) else [absolute(one) for one in value]
            return Item.from_fields({**fields, **paths})

        slicing, source = content.pop("slicing", None), content.pop("source", None)
        return cls(
            folder=folder,
            lists={part: [item(fields) for fields in content.pop(part, None) or []] for part in PARTS},
            sources=tuple(Path(absolute(one)) for one in ([source] if isinstance(source, str) else source or ())),
            plan=_plan(content),
            slicing=None if slicing is None else Slicing.of(slicing),
            structures=structures_of(content.pop("structures", None)),
            duplicates=[
                Repeat(Path(absolute(pair["items"][0])), Path(absolute(pair["items"][1])), bool(pair["exact"]))
                for pair in content.pop("duplicates", [])
            ],
            refused=[InputError(absolute(one["file"]), **_refusal(one)) for one in content.pop("refused", [])],
            **{key: content.pop(key) for key in _PLAIN if key in content},
            more=content,
        )

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.folder / "datalist.json"

    def part(self, name: Part) -> Sequence[Item]:
        """The items of a split, or those without a label; none where the list has no such part."""
        return self.lists.get(name, ())

    def labelled(self) -> Iterator[tuple[Place, Item]]:
        """The items that have a label, with their places."""
        for split in SPLITS:
            for item in self.part(split):
                yield Place(split, item.fold if split == "training" else None), item

    def counts(self) -> dict[str, int]:
        """Numbers of labelled items: of training, validation and test, or of each fold and test."""
        found = Counter(place for place, _ in self.labelled())
        return {str(place): found[place] for place in (self.plan.shares if self.plan else found)}

    @property
    def hash(self) -> str:
        """The sha256, in hex, of contents and splits: the same wherever the files lie.

        How labels are read is part of it: the same files with other values as foreground are other labels.
        """
        lines = []
        for place, item in self.labelled():
            fields = item.as_fields()
            more = {key: fields[key] for key in ("series", "slice", "fold", *_LABEL_FIELDS) if key in fields}
            facts = [place.split, fields.get("image_sha256"), fields.get("label_sha256"), *([more] if more else [])]
            lines.append(json.dumps(facts, sort_keys=True))
        return sha256("\n".join(sorted(lines)).encode()).hexdigest()

    def refuse_unindexed(self) -> None:
        """See that it was made by `index_dataset`.

        Raises:
            InputError: items have no group or hash, so that nobody knows what must stay together.
        """
        if not all(item.group and item.image_sha256 for _, item in self.labelled()):
            raise InputError(self.folder, "has items without group or hash", "index the images: delineate data index")

    def leaks(self) -> list[tuple[str, list[str]]]:
        """What stands on more than one side: training, validation, test, or the folds of training.

        Returns:
            what leaks, e.g. ``"group 'a'"`` or ``"equal pixels of a.png, b.png"``, and its sides, e.g.
            ``["fold 0", "test"]``.
        """
        sides: dict[Trait, dict[str, Item]] = {}
        for place, item in self.labelled():
            for trait in traits(item):
                sides.setdefault(trait, {}).setdefault(str(place), item)
        return [(self._describe(trait, found), list(found)) for trait, found in sides.items() if len(found) > 1]

    def path_text(self, path: Path) -> str:
        """A path as the file has it: relative where it lies below the folder, absolute elsewhere."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)

    def write(self) -> Path:
        """Write the file, so that MONAI's `load_decathlon_datalist` reads it, and return its path.

        Another one that is there is kept beside it, as ``datalist.1.json`` or the next free number: runs name its hash,
        and somebody may have edited it.

        Raises:
            InputError: the folder cannot hold it.
        """
        content = self.as_json()
        self._refuse_fields_like_paths(content)
        data = (json.dumps(content, indent=2) + "\n").encode()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.path.is_file() and self.path.read_bytes() != data:
                logger.warning(f"the data list that was there is kept as {printable(keep_aside(self.path))}")
            write_atomically(self.path, data)
        except OSError as error:
            raise InputError(self.folder, f"cannot be written ({error.strerror})", "choose another --out") from error
        return self.path

    def as_json(self) -> dict[str, Any]:
        """What the file holds."""
        head: dict[str, Any] = {"name": self.name, "layout": self.layout, "recognised": self.recognised}
        sources = [str(one) for one in self.sources]
        head |= {"source": sources if len(sources) > 1 else next(iter(sources), None)}
        head |= self.plan.as_dict() if self.plan else {}
        head |= {"slicing": self.slicing.as_dict() if self.slicing else None}
        head |= {"structures": [one.as_dict() for one in self.structures]} if self.structures else {}
        head |= {"refused": [self._refusal(error) for error in self.refused], "notes": list(self.notes)}
        head |= {"official_split": self.official_split, "official": dict(self.official)}
        pairs = [{"items": [*map(self.path_text, one[:2])], "exact": one.exact} for one in self.duplicates]
        lists = {part: [self._entry(item) for item in self.part(part)] for part in PARTS}
        return {"format": FORMAT, **head, **self.more, "duplicates": pairs, **lists}

    def _entry(self, item: Item) -> dict[str, Any]:
        def text(paths: str | list[str]) -> str | list[str]:
            return self.path_text(Path(paths)) if isinstance(paths, str) else [self.path_text(Path(p)) for p in paths]

        fields = item.as_fields()
        return {key: text(value) if key in ("image", "label", "volume") else value for key, value in fields.items()}

    def _refusal(self, error: InputError) -> dict[str, str]:
        return {"file": self.path_text(Path(error.source)), "reason": error.reason, "remedy": error.remedy}

    def _describe(self, trait: Trait, found: Mapping[str, Item]) -> str:
        kind, value = trait
        images = ", ".join(dict.fromkeys(self.path_text(item.file) for item in found.values()))
        return {
            "group": f"group {value!r}",
            "image_sha256": f"equal files {images}",
            "pixels_sha256": f"equal pixels of {images}",
        }[kind]

    def _refuse_fields_like_paths(self, content: Mapping[str, Any]) -> None:
        """MONAI takes every text of an item for a path where such a file is there."""
        values = {
            value
            for part in PARTS
            for entry in content[part]
            for key, found in entry.items()
            if key not in _NOT_PATHS
            for value in (found if isinstance(found, list) else [found])
            if isinstance(value, str)
        }
        for value in sorted(values):
            if (self.folder / value).exists():
                reason = f"holds an entry {value!r}, as which MONAI would read the field {value!r}"
                raise InputError(self.folder, reason, "choose another --out")


def traits(item: Item) -> list[Trait]:
    """What an item may only share with items of its own side: its group, its files' and its pixels' hashes.

    A folder may hold several DICOM series, so they are part of its hash.
    """
    series = f" {item.series}" if item.series is not None else ""
    return [
        *([("group", item.group)] if item.group else []),
        *(("image_sha256", f"{one}{series}") for one in item.image_sha256),
        *([("pixels_sha256", item.pixels_sha256)] if item.pixels_sha256 else []),
    ]


def content(item: Item) -> str:
    """What names an image wherever it lies: the hash of its file, or files, and the slice."""
    fields = item.as_fields()
    return json.dumps([fields.get(key) for key in ("image_sha256", "series", "slice")])


def in_splits(
    items: Sequence[Item], joined: Mapping[str, str], places: Mapping[str, Place]
) -> dict[Part, Sequence[Item]]:
    """Items under their splits, with their joined group and, if any, their fold."""
    placed = [(places[joined[item.group]], regrouped(item, joined)) for item in items]
    return {
        split: [replace(item, fold=place.fold) for place, item in placed if place.split == split] for split in SPLITS
    }


def regrouped(item: Item, joined: Mapping[str, str]) -> Item:
    """An item with the name of its joined group."""
    return replace(item, group=joined[item.group])


def refuse_no_dataset(folder: str | Path) -> None:
    """See that a folder is a data set.

    Raises:
        DelineateError: it is no folder, or holds no ``datalist.json``.
    """
    folder = Path(folder)
    name = printable(folder)
    again = f"index the images first: delineate data index SOURCE --out {name}"
    if _holds_images(folder):
        out = printable(f"{folder}_index") if folder.name not in ("", "..") else "DATASET"
        again = f"index its images first: delineate data index {name} --out {out}"
    if folder.is_file():
        remedy = f"name its folder, {printable(folder.parent)}" if folder.name == "datalist.json" else again
        raise DelineateError(f"{name} is a file, not the folder of a data set; {remedy}")
    if not folder.exists():
        raise DelineateError(f"there is no folder {name}; check the path, or {again}")
    if not (folder / "datalist.json").is_file():
        raise DelineateError(f"{name} has no datalist.json; {again}")


def _holds_images(folder: Path) -> bool:
    """Whether one of its first files, at any depth, is named like an image or volume."""
    files = (Path(name) for _, _, names in os.walk(folder) for name in sorted(names))
    return any(
        file.suffix.lower() in {*IMAGE_SUFFIXES, ".dcm"} or volume_suffix(file) for file in islice(files, _LOOKED_AT)
    )


def older_datalist(out: Path, plan: Plan) -> Datalist | None:
    """What ``out`` already holds, if it was split by the same plan.

    Raises:
        InputError: it cannot be read, so that its splits would be lost.
    """
    path = out / "datalist.json"
    old = _read(path) if path.exists() else None
    return old if old and old.plan == plan else None


def refuse_other_source(out: Path, sources: Sequence[Path]) -> None:
    """See that no data set of another source would be lost by writing into ``out``.

    Args:
        out: the folder that a data list is to be written into.
        sources: the folders whose images the new data list names; none where they are not known.

    Raises:
        InputError: ``out`` holds the data list of another source, which is still there, or what is no data list.
    """
    path = out / "datalist.json"
    old = _read(path).sources if path.exists() else ()
    known, new = ({os.path.realpath(one) for one in found} for found in (old, sources))
    if old and sources and known != new and all(one.exists() for one in old):
        known_text = " and ".join(sorted(known))
        raise InputError(out, f"already holds the data set of {known_text}", f"choose another --out, or remove {path}")


def _read(path: Path) -> Datalist:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise permission_denied(path) from error
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no data list ({error})", _AGAIN) from error
    if not isinstance(content, dict):
        raise InputError(path, "holds no splits", _AGAIN)
    if (seen := content.pop("format", FORMAT)) != FORMAT:
        raise InputError(
            path, f"is of format {seen!r}; this version reads {FORMAT}", "update Delineate, or index again"
        )
    try:
        return Datalist.from_json(Path(os.path.abspath(path.parent)), content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, f"is no data list ({type(error).__name__}: {error})", _AGAIN) from error


_PLAIN = ("name", "layout", "recognised", "official_split", "official", "notes")


def _refusal(record: Mapping[str, str]) -> dict[str, str]:
    return {"reason": record.get("reason", ""), "remedy": record.get("remedy", "")}


def _plan(content: dict[str, Any]) -> Plan | None:
    """How the list says that it was split; before folds, nothing was said of them."""
    found = {key: content.pop(key) for key in ("fractions", "seed", "folds") if key in content}
    return Plan(tuple(found["fractions"]), found["seed"], found.get("folds")) if "fractions" in found else None
