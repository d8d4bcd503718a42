"""What an audit finds, and how it is named for good."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, get_args

from ..datasets.datalist import content as image_content
from ..datasets.splitting.splits import SPLITS

Kind = Literal["leak", "contradiction", "exact_duplicate", "near_duplicate", "similar_frame", "mask", "image"]
Severity = Literal["problem", "note"]

KINDS: tuple[Kind, ...] = get_args(Kind)
PARTS = (*SPLITS, "unlabelled")
_JUDGES_MASKS = ("mask", "contradiction")


@dataclass(frozen=True)
class Member:
    """An item of a data list and the part it is in: ``training``, ``validation``, ``test`` or ``unlabelled``."""

    entry: Mapping[str, Any]
    part: str

    @property
    def name(self) -> str:
        """The image's path as in the data list (of several modalities the first), with ``#``, series and slice."""
        image = self.entry["image"]
        parts = [image if isinstance(image, str) else image[0], self.entry.get("series"), self.entry.get("slice")]
        return "#".join(str(part) for part in parts if part is not None)

    @property
    def is_slice(self) -> bool:
        """Whether it is a slice of a volume or a frame, read from its file or written as a picture."""
        return bool({"slice", "plane"} & self.entry.keys())

    @property
    def side(self) -> str:
        """What must not know the others: the part, and the fold where it has one; unlabelled images are on no side."""
        part = "" if self.part == "unlabelled" else self.part
        return f"{part}, fold {self.entry['fold']}" if "fold" in self.entry else part

    def content(self, kind: Kind) -> str:
        """What names the item wherever it lies: hashes of its image, and of its mask where that is judged."""
        named: list[Any] = json.loads(image_content(self.entry))
        return json.dumps([*named, *([self.entry.get("label_sha256")] if kind in _JUDGES_MASKS else [])])


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


def read_members(datalist: Mapping[str, Any]) -> list[Member]:
    """All items of a data list, part by part."""
    return [Member(entry, part) for part in PARTS for entry in datalist.get(part, [])]


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
