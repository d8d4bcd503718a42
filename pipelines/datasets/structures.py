"""Several structures in the images of a data set: where each is drawn, and how many images show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from ..core.errors import DelineateError, InputError
from ..imaging.item import Drawn, Item
from ..imaging.reading import label_values
from ..imaging.structures import Structure, structures_of

Values = Mapping[str, Sequence[int]]
"""The values in a label map that are each structure."""
Missing = Literal["not annotated", "empty"]


class Shown(NamedTuple):
    """Numbers of images that show a structure, show none of it, and are not annotated."""

    shown: int
    empty: int
    not_annotated: int


def with_structures(
    items: Sequence[Item], labels: Sequence[int] | None, structures: Values | None, missing: Missing
) -> list[Item]:
    """Items whose labels say what is of which structure.

    Args:
        items: as layouts give them.
        labels: values of which all are one structure.
        structures: values of each structure, where a label holds several.
        missing: what it means that an image has no file of a structure which others have.

    Raises:
        DelineateError: both values are given, or the source has files of its own for each structure.
    """
    if labels and structures:
        raise DelineateError("--labels makes one structure of all its values; leave it out, or leave out --structure")
    if labels:
        return [replace(item, structures={}, label_values=tuple(labels)) if item.label else item for item in items]
    if structures:
        return _by_values(items, structures)
    absent = None if missing == "not annotated" else Drawn(())
    names = names_of(items)
    return [
        replace(item, structures={name: item.structures.get(name, absent) for name in names}) if item.label else item
        for item in items
    ]


def names_of(items: Iterable[Item]) -> list[str]:
    """The structures of all items, in the order of the item that has most."""
    fullest_first = sorted(items, key=lambda item: -len(item.structures))
    return list(dict.fromkeys(name for item in fullest_first for name in item.structures))


def refuse_values_of_nothing(
    source: Path, items: Sequence[Item], labels: Sequence[int] | None, structures: Values | None
) -> None:
    """See that some image has the values that were asked for.

    Raises:
        DelineateError: none has; it names them, and their structure.
    """
    if labels and not any(item.area for item in items):
        raise _no_such_values(source, items, labels, "")
    for name, values in (structures or {}).items():
        if not any(item.areas.get(name) for item in items):
            raise _no_such_values(source, items, values, f" of {name}")


def count_shown(items: Iterable[Item], structures: Iterable[Structure]) -> dict[str, Shown]:
    """How many images show each structure."""
    areas = [item.areas for item in items]
    found = {one.name: [area.get(one.name) for area in areas] for one in structures}
    return {
        name: Shown(sum(map(bool, shares)), sum(share == 0 for share in shares), shares.count(None))
        for name, shares in found.items()
    }


def _by_values(items: Sequence[Item], structures: Values) -> list[Item]:
    if any(one and one.files is not None for item in items for one in item.structures.values()):
        raise DelineateError("--structure: each structure has files of its own here; leave it out")
    known = structures_of([{"name": name, "values": list(values)} for name, values in structures.items()])
    drawn = {one.name: Drawn(values=one.values) for one in known}
    return [replace(item, structures=drawn) if item.label else item for item in items]


def _no_such_values(source: Path, items: Sequence[Item], values: Sequence[int], of: str) -> DelineateError:
    label = next((item.label[0] for item in items if item.label), source)
    try:
        seen = f"{label.name} has {', '.join(map(str, label_values(label)[:16]))}"
    except InputError:
        seen = "see which ones there are"
    return DelineateError(f"{source}: no label has the values {', '.join(map(str, values))}{of}; {seen}")
