"""What is outlined in an image: an ordered list of structures, of which a lesion alone is the shortest."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DelineateError, InputError, UnknownNameError, WrongValueError, counted

UNANNOTATED = 255
"""Of every pixel of a structure's mask that nobody drew: it is left out of loss and scores."""

Colour = tuple[int, int, int]
COLOURS: tuple[Colour, ...] = (
    *((255, 220, 0), (0, 200, 255), (255, 80, 40), (130, 80, 255), (200, 255, 200)),
    *((140, 110, 140), (140, 170, 140), (140, 80, 50)),
)
"""Of structures that name none, in their order: to be distinguished from each other, by colour-blind people, too."""

_NAME = re.compile(r"[^\W_][\w ()+-]{0,63}")


@dataclass(frozen=True)
class Code:
    """What a structure is called in a terminology.

    Attributes:
        scheme: the coding scheme designator of DICOM PS3.16 section 8, e.g. ``SCT`` for SNOMED CT.
        value: e.g. ``80891009``.
        meaning: e.g. ``Heart``.
    """

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """One structure; in YAML a mapping of the same names.

    Attributes:
        name: as people read it, e.g. ``left lung``.
        code: what it is called in a terminology.
        values: those of a label map that are this structure; ``None`` where its masks are files of their own.
        threshold: of its probabilities, 0-1; what the bundle has for all where ``None``.
        colour: of its outline: red, green and blue, 0-255; one of `COLOURS` where ``None``.
        category: what kind of thing it is, for DICOM (PS3.16, CID 7150); its name and code decide where ``None``.
        region: of the body, for DICOM (PS3.16, CID 4); what the image says of itself where ``None``.
    """

    name: str
    code: Code | None = None
    values: tuple[int, ...] | None = None
    threshold: float | None = None
    colour: Colour | None = None
    category: Code | None = None
    region: Code | None = None

    @property
    def file_name(self) -> str:
        """The name as a part of file names: ``left_lung``."""
        plain = unicodedata.normalize("NFC", self.name)
        return re.sub(r"\W+", "_", plain).strip("_")

    def as_dict(self) -> dict[str, Any]:
        """As configuration and data lists hold it; without what is not known."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in known.items()}


def structures_of(settings: Sequence[Mapping[str, Any] | Structure] | None) -> tuple[Structure, ...]:
    """The structures of a bundle or a data list, in their order.

    Args:
        settings: as YAML or JSON hold them; ``None`` where there is one, which has no name.

    Raises:
        DelineateError: one has no name, a wrong value, or the name of another.
        UnknownNameError: one has a setting that structures do not have.
    """
    if settings is not None and (isinstance(settings, str | Mapping) or not isinstance(settings, Sequence)):
        raise DelineateError(f"structures is {settings!r}; write a list of mappings, e.g. [{{name: heart}}]")
    found = tuple(one if isinstance(one, Structure) else _structure(one) for one in settings or ())
    files = [one.file_name.casefold() for one in found]
    for one, file in zip(found, files, strict=True):
        if files.count(file) > 1:
            raise DelineateError(f"structures names {one.name!r} twice, or two names whose files would be one")
    return found


def colours_of(structures: Sequence[Structure]) -> list[Colour]:
    """The colour of each structure: its own, else the next of `COLOURS`."""
    return [one.colour or COLOURS[index % len(COLOURS)] for index, one in enumerate(structures)]


def thresholds_of(
    structures: Sequence[Structure], threshold: float | Mapping[str, float] | None = None, exclusive: bool = False
) -> tuple[float, ...]:
    """The threshold of each structure's probabilities, 0-1; one where the only structure has no name.

    Args:
        structures: of the bundle.
        threshold: one for all; some by the structure's name, the others have their own; each its own where ``None``.
        exclusive: whether a pixel is of the structure whose probability is the greatest: then one that has no
            threshold of its own has 0, else 0.5.

    Raises:
        UnknownNameError: no structure has the name.
        DelineateError: a threshold is not within 0 and 1, or of a name where there are none.
    """
    named = dict(threshold) if isinstance(threshold, Mapping) else {}
    names = [one.name for one in structures]
    if named and not names:
        one = "the bundle has one structure, without a name"
        raise WrongValueError(f"threshold is of {', '.join(map(str, named))}; {one}: write a number")
    for name in named:
        if name not in names:
            raise UnknownNameError("structure", str(name), names)
    if threshold is not None and not isinstance(threshold, Mapping):
        return (_probability(threshold, "threshold"),) * max(len(structures), 1)
    usual = 0.0 if exclusive else 0.5
    own = [usual if one.threshold is None else one.threshold for one in structures] or [usual]
    return tuple(
        _probability(named.get(name, value), f"threshold of {name}" if name in named else "threshold")
        for name, value in zip(names or [""], own, strict=True)
    )


def refuse_other_channels(channels: int, structures: int, exclusive: bool) -> None:
    """See that a network has a channel a structure and, where they are exclusive, one for the background.

    Raises:
        DelineateError: it has more or fewer.
    """
    if channels != structures + exclusive:
        background = " and the background" if exclusive else ""
        raise DelineateError(
            f"the network gives {channels} channels for {structures} structures{background}; set out_channels to "
            f"{structures + exclusive} and train again, or correct structures"
        )


def channels_of(structures: Sequence[Structure], exclusive: bool) -> dict[str, str]:
    """What stands in ``channel_def`` of a bundle's metadata: what each value of a mask, or each channel, is.

    Of one structure, and of exclusive ones, 0 is the background and the structures follow, as the values of a mask do;
    several that may overlap have a channel each, from 0.
    """
    background = ["background"] if exclusive or len(structures) == 1 else []
    return {str(index): name for index, name in enumerate([*background, *(one.name for one in structures)])}


def refuse_overlap(source: str | Path, names: Sequence[str], masks: NDArray[np.uint8]) -> None:
    """See that no pixel is of two structures.

    Args:
        source: what is refused else.
        names: of the structures.
        masks: (S, H, W), 0, 1 or `UNANNOTATED`.

    Raises:
        InputError: two overlap; it names them, and in how many pixels.
    """
    drawn = masks == 1
    if not (drawn.sum(axis=0) > 1).any():
        return
    first, second = next(pair for pair in combinations(range(len(names)), 2) if (drawn[pair[0]] & drawn[pair[1]]).any())
    pixels = counted(int((drawn[first] & drawn[second]).sum()), "pixel")
    reason = f"{names[first]} and {names[second]} overlap in {pixels}, but the bundle's structures are exclusive"
    raise InputError(source, reason, "correct the masks, or set exclusive: false")


def join_labels(source: str, masks: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One array for all structures: 0 is the background, 1, 2, 3 ... are the structures in their order.

    Args:
        source: what was segmented, for errors.
        masks: of each structure, 0 or 1, all of one shape.

    Raises:
        InputError: structures overlap, or there are more than 255.
    """
    if len(masks) > 255:
        raise InputError(source, f"has {len(masks)} structures", "write a mask each: a label map holds 255")
    names, labels = list(masks), np.zeros_like(next(iter(masks.values())))
    for value, name in enumerate(names, start=1):
        inside = masks[name] > 0
        there = labels[inside]
        if shared := np.count_nonzero(there):
            others = " and ".join(names[other - 1] for other in np.unique(there[there > 0]))
            reason = f"its {name} shares {counted(int(shared), 'pixel' if labels.ndim == 2 else 'voxel')} with {others}"
            raise InputError(source, reason, "leave out the label map (--label-map), so that each has a mask")
        labels[inside] = value
    return labels


def _structure(settings: Mapping[str, Any]) -> Structure:
    if not isinstance(settings, Mapping):
        raise DelineateError(f"structures holds {settings!r}; write a mapping each, e.g. {{name: heart}}")
    for key in settings:
        if key not in Structure.__dataclass_fields__:
            raise UnknownNameError("setting of a structure", str(key), Structure.__dataclass_fields__)
    name = settings.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.casefold() == "background":
        raise DelineateError(
            f"a structure has the name {name!r}; write letters, digits, spaces, dashes, e.g. left lung; the background "
            "is no structure"
        )
    threshold = settings.get("threshold")
    return Structure(
        name,
        _code(name, "code", settings.get("code")),
        _whole(name, "values", settings.get("values")),
        None if threshold is None else _probability(threshold, f"threshold of {name}"),
        _colour(name, settings.get("colour")),
        _code(name, "category", settings.get("category")),
        _code(name, "region", settings.get("region")),
    )


def _code(name: str, key: str, code: Any) -> Code | None:
    if code is None:
        return None
    if not isinstance(code, Mapping) or set(code) != set(Code.__dataclass_fields__):
        raise DelineateError(f"{key} of {name} is {code!r}; write {{scheme: SCT, value: '80891009', meaning: Heart}}")
    return Code(**{key: str(value) for key, value in code.items()})


def _whole(name: str, key: str, values: Any) -> tuple[int, ...] | None:
    if values is None:
        return None
    numbers = values if isinstance(values, list | tuple) else [values]
    if not numbers or any(not isinstance(one, int) or isinstance(one, bool) or one < 0 for one in numbers):
        raise DelineateError(f"{key} of {name} is {values!r}; write whole numbers of 0 or more, e.g. [1, 2]")
    return tuple(numbers)


def _colour(name: str, colour: Any) -> Colour | None:
    numbers = _whole(name, "colour", colour)
    if numbers is None:
        return None
    if len(numbers) != 3 or max(numbers) > 255:
        raise DelineateError(f"colour of {name} is {colour!r}; write red, green and blue, 0-255, e.g. [255, 220, 0]")
    red, green, blue = numbers
    return red, green, blue


def _probability(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DelineateError(f"{what} is {value!r}; set a probability, 0 to 1")
    return float(value)
