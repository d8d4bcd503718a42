"""The files of a result: what is asked for, how their names end, and what is in a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..core.errors import DelineateError, UnknownNameError
from ..imaging.objects import OBJECT_FORMATS, SEG_TYPES, ObjectFormat, SegType, refuse_missing
from ..imaging.structures import Structure
from ..imaging.writers import FORMATS, IMAGE_FORMATS, VOLUME_FORMATS, VolumeFormat

PIXEL_KINDS = ("mask", "overlay", "probability")
KINDS = (*PIXEL_KINDS, *OBJECT_FORMATS)
KEPT_KINDS = ("mask", *OBJECT_FORMATS)
"""What a person may correct; overlays and probabilities are pictures of it."""
_OBJECTS: dict[str, str] = {kind: f"_{kind}.dcm" for kind in OBJECT_FORMATS}
_FORMATS = (*IMAGE_FORMATS, *VOLUME_FORMATS)


@dataclass(frozen=True)
class OutputOptions:
    """What is written of a result.

    Attributes:
        overlay: also the image with the outlines.
        probability: also the probabilities.
        volume_format: of masks of volumes.
        label_map: one file for all structures, instead of a mask each.
        formats: what is written instead of masks as the source calls for them; see `parse_formats`.
        seg_type: of a SEG.
    """

    overlay: bool = False
    probability: bool = False
    volume_format: VolumeFormat = "nii.gz"
    label_map: bool = False
    formats: tuple[str, ...] = ()
    seg_type: SegType = "binary"

    @classmethod
    def of(cls, formats: str | Sequence[str] | None = None, **others: Any) -> OutputOptions:
        """As users give them.

        Args:
            formats: as for `parse_formats`.
            others: the other attributes.

        Raises:
            UnknownNameError: there is no such format, or type of SEG.
            DelineateError: formats exclude each other, or highdicom is not installed.
        """
        options = cls(formats=parse_formats(formats), **others)
        if options.seg_type not in SEG_TYPES:
            raise UnknownNameError("type of SEG", str(options.seg_type), SEG_TYPES)
        if options.objects:
            refuse_missing()
        return options

    @property
    def objects(self) -> tuple[ObjectFormat, ...]:
        """The DICOM objects that are asked for."""
        return tuple(kind for kind in OBJECT_FORMATS if kind in self.formats)

    @property
    def pixel_formats(self) -> tuple[str, ...]:
        """The formats of masks that are asked for, ``png`` or one of volumes, or both."""
        return tuple(one for one in self.formats if one in FORMATS)

    @property
    def volume_ending(self) -> VolumeFormat:
        """Of files of volumes."""
        named = next((FORMATS[one] for one in self.pixel_formats if one != "png"), ())
        return self.volume_format if not named or self.volume_format in named else cast("VolumeFormat", named[0])

    def writes_masks(self, volume: bool) -> bool:
        """Whether masks are written of a volume, or of an image."""
        return not self.formats or any((one != "png") == volume for one in self.pixel_formats)


def parse_formats(formats: str | Sequence[str] | None) -> tuple[str, ...]:
    """Formats as users give them: ``"seg,sc"``, ``["png", "seg"]``; none where what the input calls for is written.

    A report (``sr``) names the segments of a SEG, so that is written with it.

    Raises:
        UnknownNameError: there is no such format.
        DelineateError: two are for masks of volumes, of which one is written.
    """
    words = formats.split(",") if isinstance(formats, str) else list(formats or ())
    found = tuple(dict.fromkeys(word.strip().lower() if isinstance(word, str) else str(word) for word in words))
    known = [*FORMATS, *OBJECT_FORMATS]
    for one in found:
        if one not in known:
            raise UnknownNameError("format", one, known)
    of_volumes = [one for one in found if one in FORMATS and one != "png"]
    if len(of_volumes) > 1:
        raise DelineateError(
            f"masks of volumes are written in one format, not in {' and '.join(of_volumes)}; leave one"
        )
    return (*found, "seg") if "sr" in found and "seg" not in found else found


def file_endings(structures: Sequence[Structure], ending: str, options: OutputOptions) -> list[dict[str, str]]:
    """How the names of a result's files end: of each structure its ``mask``, ``overlay`` and ``probability``.

    Args:
        structures: of the result.
        ending: of the files of masks, e.g. ``png``.
        options: what is asked for.
    """
    found = []
    for part in (_ending(one, structures) for one in structures):
        mask = f"_labels.{ending}" if options.label_map else f"{part}_mask.{ending}"
        files = {"mask": mask, "overlay": "_overlay.png", "probability": f"{part}_probability.{ending}", **_OBJECTS}
        masks = options.writes_masks(ending != "png")
        asked = {"mask": masks, "overlay": options.overlay, "probability": options.probability}
        found.append({kind: files[kind] for kind in KINDS if asked.get(kind, kind in options.objects)})
    return found


def possible_endings(structures: Sequence[Structure]) -> set[str]:
    """Of all files that a result of these structures may be written to, whatever is asked for."""
    parts = {"", *(_ending(one, structures) for one in structures)}
    each = {f"{part}_{kind}.{ending}" for part in parts for kind in ("mask", "probability") for ending in _FORMATS}
    return each | {"_overlay.png", *_OBJECTS.values()} | {f"_labels.{ending}" for ending in _FORMATS}


def name_of(mask: str, structure: str) -> str:
    """The name of a result, from that of its mask's file, or of an object's.

    Args:
        mask: the file, e.g. ``a_left_lung_mask.png``.
        structure: whose mask it is, where the result has several, e.g. ``left lung``.
    """
    part = f"_{Structure(structure).file_name}" if structure else ""
    endings = [f"{kind}.{ending}" for kind in (f"{part}_mask", "_labels") for ending in _FORMATS] + [*_OBJECTS.values()]
    return next((mask.removesuffix(one) for one in endings if mask.endswith(one)), mask)


def _ending(structure: Structure, structures: Sequence[Structure]) -> str:
    """What a structure's files have in their names: ``_left_lung``; nothing where it is the only one."""
    return f"_{structure.file_name}" if len(structures) > 1 else ""
