"""Files to series: what belongs together, in the order of its places in the patient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core.errors import InputError, NotedError, SkippedError, counted
from .geometry import Plane, read_planes
from .header import UID_UNUSED, declared, malformed_uids, read_header
from .image import read_dicom
from .parsing import refusing, text, uid

SAME_PLACE = 1e-3
"""mm along the normal; closer slices are at one place. Positions are written to 0.01 mm or finer."""
_NEAR = 2.0  # mm along the normal of the first: by those of others, which may differ a little, two may be at one place


@dataclass(frozen=True)
class Series:
    """Images of one acquisition, size and orientation.

    Attributes:
        uid: Series Instance UID, ``""`` where there is none; images of several sizes or orientations share it.
        files: in the order of their positions along the normal; by path where they have none.
        patient_id: ``""`` where there is none.
        modality: ``CT``, ``MR``, ...
        is_volume: there are two slices or more, each at a place of its own; `read_series` says whether they fit.
        crowded: where several images are at one place, so that it is no volume, how many.
        odd: files of the same UID that lie between these and are unlike them, and how they differ.
    """

    uid: str
    files: tuple[Path, ...]
    patient_id: str
    modality: str
    is_volume: bool
    crowded: str = ""
    odd: tuple[tuple[Path, str], ...] = ()


class Slice(NamedTuple):
    """A frame of a file, from 0, and where it lies."""

    path: Path
    frame: int
    sop_uid: str
    size: tuple[int, int]
    plane: Plane


class _Head(NamedTuple):
    """What is needed of a file to sort it."""

    path: Path
    uid: str
    patient_id: str
    modality: str
    sop_uid: str
    size: tuple[int, int]
    frames: int
    planes: tuple[Plane, ...] | None
    malformed: tuple[str, ...]


def find_series(files: Iterable[str | Path]) -> tuple[list[Series], list[InputError]]:
    """Sort image files into series. A file of several frames is a series of its own.

    Args:
        files: of any number of series, in any order.

    Returns:
        the series; what is refused: files that are no images or broken, duplicates (one of them is kept), files of one
        SOP Instance UID and place but other pixels; what is said of UIDs that break the standard's form, once for each.
    """
    refused: list[InputError] = []
    malformed: dict[str, list[Path]] = {}
    groups: dict[tuple[object, ...], list[list[_Head]]] = {}
    for path in sorted({Path(file) for file in files}):
        try:
            head = _read_head(path)
        except InputError as error:
            refused.append(error)
            continue
        for words in head.malformed:
            malformed.setdefault(words, []).append(path)
        alone = head.path if head.frames > 1 or not head.uid else None
        alike = groups.setdefault((head.uid, head.size, alone), [])
        group = next((group for group in alike if _parallel(group[0], head)), None)
        if group is None:
            alike.append([head])
        else:
            group.append(head)
    refused += [_malformed(words, paths) for words, paths in malformed.items()]
    found = [_series(group, refused) for alike in groups.values() for group in alike]
    heads = {head.path: head for alike in groups.values() for group in alike for head in group}
    return [replace(one, odd=_odd(one, found, heads)) if one.is_volume else one for one in found], refused


def read_slices(series: Series) -> list[Slice]:
    """The frames of a series by their places along the normal of the first.

    Raises:
        InputError: a file is refused, or does not say where it lies.
    """
    slices: list[Slice] = []
    for path in series.files:
        head = _read_head(path)
        if head.planes is None:
            raise InputError(path, "does not say where it lies in the patient", "read the images one by one")
        slices += [Slice(path, frame, head.sop_uid, head.size, plane) for frame, plane in enumerate(head.planes)]
    return sorted(slices, key=lambda one: _place(one.plane, slices[0].plane))


def _read_head(path: Path) -> _Head:
    header = read_header(path)
    with refusing(path):
        names = uid(header, "SeriesInstanceUID"), text(header, "PatientID"), text(header, "Modality")
        pixels = declared(path, header)
        planes = read_planes(header, pixels.frames)
        size, sop_uid = (pixels.rows, pixels.columns), uid(header, "SOPInstanceUID")
        return _Head(path, *names, sop_uid, size, pixels.frames, planes, tuple(malformed_uids(path, header)))


def _malformed(words: str, paths: list[Path]) -> NotedError:
    more = f" (and so have {counted(len(paths) - 1, 'more file', 'more files')})" if len(paths) > 1 else ""
    return NotedError(paths[0], words + more, UID_UNUSED)


def _odd(series: Series, found: list[Series], heads: Mapping[Path, _Head]) -> tuple[tuple[Path, str], ...]:
    """Files of other series with this one's UID that lie between its slices, or nowhere, and how they differ."""
    like = heads[series.files[0]]
    if not series.uid or not like.planes:
        return ()
    first = like.planes[0]
    places = [_place(plane, first) for path in series.files for plane in heads[path].planes or ()]
    others = [one.files for one in found if one.uid == series.uid and one is not series]
    odd: list[tuple[Path, str]] = []
    for head in (heads[path] for files in others for path in files):
        if head.planes is None:
            odd.append((head.path, "does not say where it lies"))
        elif min(places) < _place(head.planes[0], first) < max(places):  # a localizer has a place beyond
            sizes = "is {} x {} where the others are {} x {}".format(*head.size, *like.size)
            odd.append((head.path, sizes if head.size != like.size else "has another orientation than the others"))
    return tuple(odd)


def _parallel(one: _Head, other: _Head) -> bool:
    """Whether two images have the same orientation, or both have none."""
    if one.planes is None or other.planes is None:
        return one.planes is other.planes
    return all(np.allclose(one.planes[0][axis], other.planes[0][axis], atol=1e-3) for axis in (1, 2))


def _place(plane: Plane, first: Plane) -> float:
    """Along the normal of ``first``, mm."""
    return float(np.dot(plane.position, first.normal))


def _series(group: list[_Head], refused: list[InputError]) -> Series:
    """The series of a group of files, in order, without duplicates; adds what is refused."""
    first = group[0]
    planes = first.planes
    if planes is None:
        return Series(first.uid, tuple(head.path for head in group), first.patient_id, first.modality, False)
    group = sorted(group, key=lambda head: _place((head.planes or planes)[0], planes[0]))
    group = _without_duplicates(group, refused)
    places = sorted(_place(plane, planes[0]) for head in group for plane in head.planes or ())
    shared = sum(after - before < SAME_PLACE for before, after in pairwise(places))
    crowded = f"{len(places)} images at {counted(len(places) - shared, 'place')} (echoes? times?)" if shared else ""
    files = tuple(head.path for head in group)
    return Series(first.uid, files, first.patient_id, first.modality, len(places) > 1 and not shared, crowded)


def _without_duplicates(group: list[_Head], refused: list[InputError]) -> list[_Head]:
    """Of images in the order of their places."""
    kept: list[_Head] = []
    for head in group:
        alike = [other for other in _near(kept, head, group[0]) if _at_one_place(other, head)]
        try:
            twin = next((other for other in alike if _equal(other, head)), None)
        except InputError as error:
            refused.append(error)
            continue
        if twin is None:
            if rival := next((other for other in alike if _namesakes(other, head)), None):
                kept.remove(rival)
                refused += [_contradiction(rival.path, head.path), _contradiction(head.path, rival.path)]
            else:
                kept.append(head)
        else:
            refused.append(SkippedError(head.path, f"is a duplicate of {twin.path}", "passed over"))
    return kept


def _near(kept: list[_Head], head: _Head, first: _Head) -> Iterator[_Head]:
    """The last of those kept, as far as they can be at the same place: a long series is not compared with itself."""
    assert first.planes
    normal = first.planes[0].normal
    for other in reversed(kept):
        assert head.planes
        assert other.planes
        if np.dot(np.subtract(head.planes[0].position, other.planes[0].position), normal) > _NEAR:
            return
        yield other


def _at_one_place(one: _Head, other: _Head) -> bool:
    if one.planes is None or other.planes is None:
        return False
    return abs(_place(one.planes[0], one.planes[0]) - _place(other.planes[0], one.planes[0])) < SAME_PLACE


def _equal(one: _Head, other: _Head) -> bool:
    """Whether two files hold the same image."""
    return np.array_equal(read_dicom(one.path).values, read_dicom(other.path).values)


def _namesakes(one: _Head, other: _Head) -> bool:
    return bool(one.sop_uid) and one.sop_uid == other.sop_uid


def _contradiction(path: Path, other: Path) -> InputError:
    reason = f"has the SOP Instance UID and the place of {other}, but other pixels"
    return InputError(path, reason, "find out which of the two is right, and remove the other")
