"""What an audit finds, and how it is named for good."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, get_args

from ..datasets.datalist import PARTS, Datalist, Part
from ..datasets.datalist import content as image_content
from ..imaging.item import Item

Kind = Literal["leak", "contradiction", "exact_duplicate", "near_duplicate", "similar_frame", "mask", "image"]
Severity = Literal["problem", "note"]

KINDS: tuple[Kind, ...] = get_args(Kind)
_JUDGES_MASKS = ("mask", "contradiction")


@dataclass(frozen=True)
class Member:
    """An item of a data list, what the list calls its image, and the part it is in."""

    item: Item
    image: str
    part: Part

    @property
    def name(self) -> str:
        """The image's path as in the data list (of several modalities the first), with ``#``, series and slice."""
        parts = [self.image, self.item.series, self.item.slice]
        return "#".join(str(part) for part in parts if part is not None)

    @property
    def is_slice(self) -> bool:
        """Whether it is a slice of a volume or a frame, read from its file or written as a picture."""
        return self.item.slice is not None or self.item.plane is not None

    @property
    def side(self) -> str:
        """What must not know the others: the part, and the fold where it has one; unlabelled images are on no side."""
        part = "" if self.part == "unlabelled" else self.part
        return part if self.item.fold is None else f"{part}, fold {self.item.fold}"

    def content(self, kind: Kind) -> str:
        """What names the item wherever it lies: hashes of its image, and of its mask where that is judged."""
        named: list[Any] = json.loads(image_content(self.item))
        label = self.item.as_fields().get("label_sha256")
        return json.dumps([*named, *([label] if kind in _JUDGES_MASKS else [])])


@dataclass(frozen=True)
class Finding:
    """Something that somebody should look at.

    Attributes:
        id: the same as long as the contents are, wherever they lie and whatever else is in the data set.
        kind: one of `KINDS`.
        severity: a ``problem`` makes scores wrong or training fail, a ``note`` may be as it should.
        items: names of the images, as `Member.name` gives them.
        detail: what was seen, with figures.
    """

    id: str
    kind: Kind
    severity: Severity
    items: tuple[str, ...]
    detail: str


def members_of(datalist: Datalist) -> list[Member]:
    """All items of a data list, part by part."""
    return [Member(item, datalist.path_text(item.file), part) for part in PARTS for item in datalist.part(part)]


def found(
    kind: Kind,
    what: str,
    members: Sequence[Member],
    detail: str,
    severity: Severity = "problem",
    contents: Iterable[str] | None = None,
) -> Finding:
    """A finding with its id.

    Args:
        kind: one of `KINDS`.
        what: which of its checks; part of the id.
        members: the items concerned.
        detail: for people; not part of the id.
        severity: see `Finding`.
        contents: what the id is made of in place of the members' contents.
    """
    named = sorted(contents or (member.content(kind) for member in members))
    digest = sha256(json.dumps([kind, what, named]).encode()).hexdigest()
    return Finding(f"{kind}-{digest[:10]}", kind, severity, tuple(member.name for member in members), detail)
