"""DICOM files, with masks as DICOM SEG or as files of the same name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...core.errors import InputError, NotedError, SkippedError, counted
from ...imaging.item import Item
from .base import Found, Layout, ambiguous, by_key, is_picture, orphan, walk
from .nifti import is_volume, label_key, stem

if TYPE_CHECKING:
    from ...imaging.dicom import Series

_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_PARALLEL = frozenset({"images", "masks", "labels"})
_KEEP = "keep the image that the SEG was drawn on, or export both with UIDs of their own"
_KEEP_ONE = "keep one of them, or name them after one image each"

Files = Mapping[str, list[Path]]


class _Image(NamedTuple):
    """What of a header the layout needs."""

    file: Path
    sop_uid: str
    group: str
    frames: int
    malformed: tuple[str, ...]


def dicom(source: Path) -> Found:
    """DICOM images at any depth, each frame in the plane it was acquired in; the group is the patient.

    Masks are the DICOM SEG files that refer to an image, or a picture named like it (``a.png``, ``a_mask.png``), beside
    it or in a parallel ``masks/``. An image without a mask is unlabelled. Where there is no patient ID, the group is
    the study, else the series, else the file.
    """
    files = walk(source)
    segs, others, refused = _separate_segs(files)
    images: list[_Image] = []
    for file in others:
        try:
            images.append(_read(file))
        except InputError as error:
            refused.append(error)
    places = by_key((_place(image.file, source), image.file) for image in images)
    pictures = _by_place(filter(is_picture, files), source, places)
    namesakes: dict[str, list[_Image]] = {}
    for image in images:
        namesakes.setdefault(image.sop_uid, []).append(image)
    items: list[Item] = []
    for image in images:
        place = _place(image.file, source)
        try:
            alike = namesakes.get(image.sop_uid, []) if image.sop_uid in segs else []
            if len(alike) > 1 and _differ(alike):
                raise InputError(image.file, "has the SOP Instance UID of another image, so its SEG is in doubt", _KEEP)
            label = _label(image.file, segs.get(image.sop_uid, []), pictures.get(place, []), places[place])
            items += _frames(image, label)
        except InputError as error:
            refused.append(error)
    refused += _remarks(images)
    return items, refused + _orphans(segs, {image.sop_uid for image in images}) + _orphans(pictures, places)


def dicom_series(source: Path) -> Found:
    """DICOM series that are volumes, at any depth: one item each; the group is the patient, else the series.

    Labels are the DICOM SEG files that refer to a series, or a volume named like the series' folder (``ct1.nii.gz``,
    ``ct1_seg.nii.gz`` for ``ct1/``), beside it or in a parallel ``labels/``. Without one it is unlabelled.
    """
    from ...imaging.dicom import find_series
    from ...imaging.dicom.series import read_slices

    files = walk(source)
    segs, others, refused = _separate_segs(files)
    found, unreadable = find_series(others)
    series = [(one, Path(os.path.commonpath([file.parent for file in one.files]))) for one in found]
    volumes = [(one, folder) for one, folder in series if one.is_volume]
    shared = Counter(one.uid for one, _ in volumes)
    places = by_key((_place(folder, source), folder) for _, folder in volumes)
    labels = _by_place(filter(is_volume, files), source, places)
    items: list[Item] = []
    referred: set[str] = set()
    for one, folder in volumes:
        place = _place(folder, source)
        try:
            if shared[one.uid] > 1:
                raise InputError(folder, f"has several volumes in series {one.uid!r}", "export each as a series")
            uids = {image.sop_uid for image in read_slices(one)} if segs else set()
            referred |= uids
            if uids & segs.keys() and len(uids) < len(one.files):
                raise InputError(folder, "has slices of one SOP Instance UID, so its DICOM SEG is in doubt", _KEEP)
            own_segs = sorted({seg for uid in uids for seg in segs.get(uid, [])})
            label = _label(folder, own_segs, labels.get(place, []), places[place])
            items.append(Item.of(folder, *label, group=one.patient_id or one.uid, series=one.uid))
        except InputError as error:
            refused.append(error)
    refused += [_no_volume(one, folder) for one, folder in series if not one.is_volume]
    return items, refused + unreadable + _orphans(segs, referred) + _orphans(labels, places)


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing."""
    first = next(filter(_is_dicom, walk(source)), None)
    return f"holds DICOM files, e.g. {first.relative_to(source).as_posix()}" if first else ""


def _is_dicom(file: Path) -> bool:
    from ...imaging.dicom import is_dicom

    return not is_picture(file) and not is_volume(file) and is_dicom(file)


def _separate_segs(files: Iterable[Path]) -> tuple[dict[str, list[Path]], list[Path], list[InputError]]:
    """SEG files by the SOP Instance UIDs they refer to; the other DICOM files; SEG files that cannot be read."""
    from ...imaging.dicom import is_seg, seg_references

    references: list[tuple[str, Path]] = []
    others: list[Path] = []
    refused: list[InputError] = []
    for file in filter(_is_dicom, files):
        if not is_seg(file):
            others.append(file)
            continue
        try:
            uids = sorted(seg_references(file) - {""})
            references += [(uid, file) for uid in uids]
            if not uids:
                raise InputError(file, "does not name the images it was drawn on", "export it with its source images")
        except InputError as error:
            refused.append(error)
    return by_key(references), others, refused


def _read(file: Path) -> _Image:
    from ...imaging.dicom import read_header
    from ...imaging.dicom.header import declared, malformed_uids
    from ...imaging.dicom.parsing import refusing, text, uid

    header = read_header(file)
    with refusing(file):
        uids = (uid(header, name) for name in ("StudyInstanceUID", "SeriesInstanceUID"))
        group = text(header, "PatientID") or next(filter(None, uids), file.name)
        frames = declared(file, header).frames
        return _Image(file, uid(header, "SOPInstanceUID"), group, frames, tuple(malformed_uids(file, header)))


def _remarks(images: Iterable[_Image]) -> list[InputError]:
    """What is said of UIDs that break the standard's form."""
    from ...imaging.dicom.header import UID_UNUSED

    return [NotedError(image.file, words, UID_UNUSED) for image in images for words in image.malformed]


def _differ(images: list[_Image]) -> bool:
    """Whether files of one SOP Instance UID hold different images."""
    from ...imaging.dicom import read_dicom

    first, *others = (read_dicom(image.file) for image in images)
    return any(not np.array_equal(first.values, other.values) or first.planes != other.planes for other in others)


def _place(path: Path, source: Path) -> str:
    """The path below the source without what differs between an image and its mask: parallel folder, suffix."""
    *folders, name = path.relative_to(source).parts or ("",)
    if is_volume(path):
        name = stem(path)
    elif is_picture(path) or path.suffix.lower() in _SUFFIXES:
        name = path.stem
    return "/".join([folder for folder in folders if folder.lower() not in _PARALLEL] + [name])


def _by_place(masks: Iterable[Path], source: Path, places: Collection[str]) -> dict[str, list[Path]]:
    """Masks by the place of their image, whose name they have or go on from."""
    keyed = {mask: _place(mask, source) for mask in masks}
    return by_key((place if place in places else label_key(place), mask) for mask, place in keyed.items())


def _label(image: Path, segs: list[Path], named: list[Path], rivals: list[Path]) -> tuple[Path, ...]:
    """The label of an image: the SEG files that refer to it, or the one mask named like it.

    Raises:
        InputError: it has both, several of a name, or shares its mask with the ``rivals`` of its name.
    """
    if named and (segs or len(named) > 1):
        names = ", ".join(file.name for file in [*segs, *named])
        raise InputError(image, f"has several masks ({names})", _KEEP_ONE)
    if named and len(rivals) > 1:
        raise ambiguous(image, "image", rivals)
    return tuple(segs or named)


def _frames(image: _Image, label: tuple[Path, ...]) -> list[Item]:
    if image.frames == 1:
        return [Item.of(image.file, *label, group=image.group)]
    drawn = next(filter(is_picture, label), None)
    if drawn:
        raise InputError(drawn, f"is one mask, but {image.file.name} has {image.frames} frames", "use a DICOM SEG")
    return [Item.of(image.file, *label, group=image.group, slice=frame) for frame in range(image.frames)]


def _orphans(masks: Files, images: Collection[str]) -> list[InputError]:
    """Refusals of the masks none of whose images is there."""
    used = {file for key, files in masks.items() if key in images for file in files}
    return [orphan(file) for file in sorted({file for files in masks.values() for file in files} - used)]


def _no_volume(series: Series, folder: Path) -> InputError:
    """What is said of a series that is not cut; one with several images at a place is refused, as it may be two."""
    remedy = "index its images one by one: delineate data index"
    if series.crowded:
        source = folder if len(series.files) > 1 else series.files[0]
        reason = f"series {series.uid!r} has {series.crowded}, so it is not a volume"
        return InputError(source, reason, f"give each echo or time a series of its own, or {remedy}")
    number = counted(len(series.files), "file")
    return SkippedError(folder, f"series {series.uid!r} is not a volume ({number})", f"{remedy}, or leave it")


DICOM = Layout(_matches, "DICOM files, with DICOM SEG or pictures of equal names, or without masks", dicom)
