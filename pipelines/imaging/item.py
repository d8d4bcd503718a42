"""One image of a data set: its files, its label, and what is known of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from .dicom import is_dicom
from .filetypes import IMAGE_SUFFIXES
from .held import HeldImage
from .volumes.formats import volume_suffix

Kind = Literal["picture", "dicom", "volume"]
Split = Literal["training", "validation", "test"]
LabelForm = Literal["outline", "jpeg"]
Fields = Mapping[Any, Any]
"""An item as JSON and MONAI have it."""

One = TypeVar("One")


class Drawn(NamedTuple):
    """Where a structure is drawn.

    Attributes:
        files: which files of the label, by position; all where ``None``, and an empty mask where there is none.
        values: what of them is the structure; all but 0 where ``None``.
    """

    files: tuple[int, ...] | None = None
    values: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image, slice or frame with its label; of a volume that is not yet cut, all of it.

    Attributes:
        image: the file; several of modalities on one grid; of a DICOM series the folder it lies in.
        label: empty where it is unlabelled; several files are united, or hold different ``structures``.
        group: what must not be split; the name that it has with those it was joined with.
        own_group: its name from before.
        class_name: e.g. ``benign``; ``class`` in the data list.
        source: the name of the folder it is from, where several make one data set.
        series: a SeriesInstanceUID, where the files of a DICOM series are the image.
        slice: of a volume or of a file with several frames, from 0.
        slices: how many the volume has, where all of them are read one by one.
        spacing: distances between rows and between columns, mm.
        label_is: ``outline`` where the label is a line to be filled, ``jpeg`` where it is black and white but for
            compression.
        label_values: the foreground of a label where that is not all but 0; the segments of a DICOM SEG.
        label_size: rows and columns that label pictures are resized to.
        draft: true where the label is as Delineate drew it; ``None`` elsewhere.
        structures: by name where each is drawn; ``None`` where nobody annotated it. Empty where the label is of one.
        size: rows and columns.
        area: share of the image that is foreground, 0-1; of several structures, of any.
        areas: the same of each structure, ``None`` where nobody annotated it.
        image_sha256: of each file, hex.
        label_sha256: of each file, hex.
        pixels_sha256: of the decoded image; none of a blank one: one black slice is like any other.
        fold: of the training split.
        volume: what a slice was written from.
        plane: its place there.
        official: the split its publishers put it in; not in the data list.
        rule: how image and label were paired, where several ways are tried; not in the data list.
        more: fields of the data list that are not known here.
    """

    image: tuple[Path, ...] | HeldImage
    label: tuple[Path, ...] = ()
    group: str = ""
    own_group: str = ""
    class_name: str = ""
    source: str = ""
    series: str | None = None
    slice: int | None = None
    slices: int | None = None
    spacing: tuple[float, float] | None = None
    label_is: LabelForm | None = None
    label_values: tuple[int, ...] | None = None
    label_size: tuple[int, int] | None = None
    draft: bool | None = None
    structures: Mapping[str, Drawn | None] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    area: float | None = None
    areas: Mapping[str, float | None] = field(default_factory=dict)
    image_sha256: tuple[str, ...] = ()
    label_sha256: tuple[str, ...] = ()
    pixels_sha256: str | None = None
    fold: int | None = None
    volume: Path | None = None
    plane: int | None = None
    official: Split | None = None
    rule: str = ""
    more: Fields = field(default_factory=dict)

    @classmethod
    def of(cls, image: str | Path | HeldImage, *label: Path, **more: Any) -> Item:
        """An item of one file."""
        return cls(image=image if isinstance(image, HeldImage) else (Path(image),), label=label, **more)

    @classmethod
    def from_fields(cls, fields: Fields) -> Item:
        """From what JSON or MONAI have of it; what is not known is kept."""
        known = {key: read(fields[key]) for key, read in _READ.items() if fields.get(key) is not None}
        if "class" in known:
            known["class_name"] = known.pop("class")
        return cls(**known, more={key: value for key, value in fields.items() if key not in _READ})

    def as_fields(self) -> dict[str, Any]:
        """As JSON and MONAI have it: without what is not known; one path as it is, several as a list."""
        image = self.image if isinstance(self.image, HeldImage) else _one_or_list([str(path) for path in self.image])
        values = {**vars(self), "image": image, "class": self.class_name}
        written = {key: _WRITE.get(key, _same)(values[key]) for key in _READ if values[key] not in _UNKNOWN}
        return written | dict(self.more)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the image; of one in memory its name."""
        return (Path(self.image.source),) if isinstance(self.image, HeldImage) else self.image

    @property
    def file(self) -> Path:
        """The file of the image; of several modalities the first."""
        return self.files[0]

    @cached_property
    def kind(self) -> Kind:
        """What the image is; resolved once."""
        return "picture" if isinstance(self.image, HeldImage) else kind_of(self.file, self.series)

    def label_of(self, name: str) -> Item | None:
        """The item whose label is that of one structure alone; ``None`` where nobody annotated it."""
        if name not in self.structures:
            return None
        drawn = self.structures[name]
        if drawn is None:
            return None
        chosen = range(len(self.label)) if drawn.files is None else drawn.files
        files = tuple(self.label[position] for position in chosen)
        return replace(self, label=files, label_values=drawn.values, label_sha256=(), structures={}, areas={})


def kind_of(path: Path, series: str | None = None) -> Kind:
    """What kind of file ``path`` is; one of no known kind is taken for a picture, whose reader then refuses it."""
    if series is not None or path.is_dir() or volume_suffix(path):
        return "volume"
    return "picture" if path.suffix.lower() in IMAGE_SUFFIXES or not is_dicom(path) else "dicom"


def _paths(value: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    return (Path(value),) if isinstance(value, str | Path) else tuple(map(Path, value))


def _image(value: Any) -> tuple[Path, ...] | HeldImage:
    return value if isinstance(value, HeldImage) else _paths(value)


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _drawn(value: Mapping[str, Mapping[str, Sequence[int]] | None]) -> dict[str, Drawn | None]:
    def one(found: Mapping[str, Sequence[int]]) -> Drawn:
        files, values = (found.get(key) for key in Drawn._fields)
        return Drawn(None if files is None else tuple(files), None if values is None else tuple(values))

    return {name: None if found is None else one(found) for name, found in value.items()}


def _drawn_fields(structures: Mapping[str, Drawn | None]) -> dict[str, dict[str, list[int]] | None]:
    return {
        name: None if one is None else {key: list(value) for key, value in one._asdict().items() if value is not None}
        for name, one in structures.items()
    }


def _one_or_list(values: Sequence[One]) -> One | list[One]:
    return values[0] if len(values) == 1 else list(values)


def _same(value: Any) -> Any:
    return value


def _path_texts(paths: Sequence[Path]) -> str | list[str]:
    return _one_or_list([str(path) for path in paths])


_READ: dict[str, Callable[[Any], Any]] = {
    **{"image": _image, "label": _paths, "group": str, "own_group": str, "class": str, "source": str},
    **{"label_is": _same, "label_values": tuple, "label_size": tuple, "series": str, "slice": int, "slices": int},
    **{"draft": bool, "spacing": tuple},
    **{"structures": _drawn, "size": tuple, "image_sha256": _texts, "area": float, "areas": dict},
    **{"label_sha256": _texts, "pixels_sha256": str, "volume": Path, "plane": int, "fold": int},
}
"""The fields of a data list, in its order, and what they become."""

_WRITE: dict[str, Callable[[Any], Any]] = {
    **{"label": _path_texts, "image_sha256": _one_or_list, "label_sha256": _one_or_list, "volume": str},
    **{"spacing": list, "label_values": list, "label_size": list, "size": list, "areas": dict},
    "structures": _drawn_fields,
}
_UNKNOWN: tuple[Any, ...] = (None, "", (), {})
