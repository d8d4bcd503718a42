"""A series to a volume: slices of one size and orientation, at equal distances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from ..volumes.volume import Volume
from ..volumes.windows import Window
from .image import read_dicom
from .parsing import MAX_BYTES
from .series import SAME_PLACE, Series, Slice, read_slices

MOST_TILT = 1.0
"""Degrees between the normal and the direction of stacking; positions rounded to 0.1 mm tilt by less."""
MOST_DISPLACEMENT = 0.05
"""Of the slice distance. Positions rounded to 0.1 mm displace slices by 2 %; a missing slice displaces one by half."""

ROUNDED = 0.2
"""mm between the ends of a stack, across it: what positions that are written with one decimal may be off."""

_ONE_BY_ONE = "read its images one by one (segment: name the files, not the folder; or 'data index')"


def read_series(series: Series) -> Volume:
    """Stack a series.

    Returns:
        voxels (columns, rows, slices), int16 where that holds all values, else float32; affine in RAS+; the window
        that all slices ask for, if they agree.

    Raises:
        InputError: a file is refused; slices are coloured, or differ in size, orientation, spacing or MONOCHROME1; the
            gantry is tilted; a slice is missing, or there twice; the volume is too large.
    """
    slices = read_slices(series)
    source = series.files[0] if len(series.files) == 1 else series.files[0].parent
    affine = _affine(source, slices, series.odd)
    rows, columns = slices[0].size
    if 2 * len(slices) * rows * columns > MAX_BYTES:
        raise InputError(source, f"has {len(slices)} slices of {rows} x {columns}, above 2 GiB", "cut the series")
    frames: list[NDArray[Any]] = []
    asked: set[Window | None] = set()
    inverted: set[bool] = set()
    for one in slices:
        image = read_dicom(one.path)
        if image.is_colour:
            raise InputError(one.path, "is a colour image in a series of slices", _ONE_BY_ONE)
        frames.append(image.values[one.frame])
        voi = image.asked[one.frame]
        asked.add(voi if isinstance(voi, Window) else None)
        inverted.add(image.inverted)
    if len(inverted) > 1:
        raise InputError(source, "has slices of MONOCHROME1 and of MONOCHROME2", _ONE_BY_ONE)
    window = asked.pop() if len(asked) == 1 else None
    return Volume(source, _stacked(frames).transpose(2, 1, 0), affine, window, inverted.pop())


def volume_frames(series: Series) -> list[tuple[str, int]]:
    """SOP Instance UID and frame, from 1, of each slice of the volume, in its order.

    Raises:
        InputError: a file is refused, or does not say where it lies.
    """
    return [(one.sop_uid, one.frame + 1) for one in read_slices(series)]


def _stacked(frames: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """(slices, rows, columns), in the smallest type of a volume."""
    whole = all(frame.dtype.kind in "iu" and frame.min() >= -(2**15) and frame.max() < 2**15 for frame in frames)
    stack = np.empty((len(frames), *frames[0].shape), np.int16 if whole else np.float32)
    for index, frame in enumerate(frames):
        stack[index] = frame
    return stack


def _affine(source: Path, slices: Sequence[Slice], odd: Sequence[tuple[Path, str]]) -> NDArray[np.float64]:
    """(4, 4), from column, row, slice to mm in RAS+."""
    if len(slices) < 2:
        raise InputError(source, "has one slice", f"needed are two or more; {_ONE_BY_ONE}")
    first = slices[0].plane
    for one in slices[1:]:
        _refuse_other_grid(one, slices[0])
    positions = np.array([one.plane.position for one in slices])
    _refuse_uneven(source, slices, positions, odd)
    total = positions[-1] - positions[0]
    straight = total @ first.normal * np.asarray(first.normal)
    if np.linalg.norm(total - straight) <= ROUNDED:
        total = straight  # ITK refuses to open what is sheared, however little
    step = total / (len(slices) - 1)
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.along_row, first.spacing[1])
    affine[:3, 1] = np.multiply(first.along_column, first.spacing[0])
    affine[:3, 2], affine[:3, 3] = step, first.position
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def _refuse_other_grid(one: Slice, first: Slice) -> None:
    if one.size != first.size:
        reason = f"is {one.size[0]} x {one.size[1]}, {first.path.name} of its series {first.size[0]} x {first.size[1]}"
        raise InputError(one.path, reason, _ONE_BY_ONE)
    ours, theirs = one.plane, first.plane
    if not np.allclose(ours.spacing, theirs.spacing, rtol=1e-3):
        reason = f"has pixels of {ours.spacing} mm, {first.path.name} of its series {theirs.spacing}"
        raise InputError(one.path, reason, _ONE_BY_ONE)
    if not np.allclose(ours[1:3], theirs[1:3], atol=1e-3):
        raise InputError(one.path, f"has another orientation than {first.path.name} of its series", _ONE_BY_ONE)


def _refuse_uneven(
    source: Path, slices: Sequence[Slice], positions: NDArray[np.float64], odd: Sequence[tuple[Path, str]]
) -> None:
    """Raise unless the positions, (N, 3) in order, lie on a line along the normal at equal distances."""
    total, normal = positions[-1] - positions[0], slices[0].plane.normal
    steps = np.diff(positions @ normal)
    if steps.min() < SAME_PLACE:
        reason = "has several images at one place (echoes? times? copies?)"
        raise InputError(source, reason, "remove all but one of each")
    tilt = np.degrees(np.arctan2(np.linalg.norm(total - total @ normal * normal), total @ normal))
    distance = float(np.linalg.norm(total)) / len(steps)
    places = positions[0] + np.outer(np.linspace(0, 1, len(positions)), total)
    displaced = float(np.linalg.norm(positions - places, axis=1).max())
    uneven = displaced > max(0.01, MOST_DISPLACEMENT * distance)
    if uneven and odd:
        path, how = odd[0]
        more = f", and so are {len(odd) - 1} more" if len(odd) > 1 else ""
        raise InputError(
            path, f"{how}, and leaves a gap in its series{more}", f"export the series again, or {_ONE_BY_ONE}"
        )
    if tilt > MOST_TILT or uneven:
        _refuse_few(source, [one.path for one in slices], positions)
    if tilt > MOST_TILT:
        reason = f"was taken with a tilted gantry ({tilt:.1f} degrees between the slices' normal and their order)"
        raise InputError(source, reason, f"resample it to an upright grid, or {_ONE_BY_ONE}")
    if uneven:
        reason = f"has slice distances from {steps.min():.3f} to {steps.max():.3f} mm"
        raise InputError(source, reason, f"resample it to equal distances, or {_ONE_BY_ONE}")


def _refuse_few(source: Path, paths: Sequence[Path], positions: NDArray[np.float64]) -> None:
    """Raise where most steps from slice to slice are one, and what is odd can be named: a slice, or a gap."""
    steps = np.diff(positions, axis=0)
    usual = np.median(steps, axis=0)
    distance = float(np.linalg.norm(usual))
    near = max(0.01, 2 * MOST_DISPLACEMENT * distance)
    odd = np.flatnonzero(np.linalg.norm(steps - usual, axis=1) > near).tolist()
    if not odd or 4 * len(odd) > len(steps) + 4 or len(steps) < 3:
        return
    shifted = [
        at + 1 for at in odd if at + 1 in odd and np.linalg.norm(steps[at : at + 2].sum(0) - 2 * usual) <= 2 * near
    ]
    folds = steps[odd] @ usual / distance**2
    gaps = np.linalg.norm(steps[odd] - np.outer(np.rint(folds), usual), axis=1) <= near
    if shifted or (len(odd) == 1 and odd[0] in (0, len(steps) - 1) and not gaps[0]):
        at = shifted[0] if shifted else 0 if odd[0] == 0 else len(steps)
        reason = f"lies off the line and the distances of {distance:.3f} mm that the other slices of its series keep"
        raise InputError(paths[at], reason, f"correct its position or leave it out, or {_ONE_BY_ONE}")
    if gaps.all():
        lengths = np.linalg.norm(steps, axis=1)
        reason = f"has slice distances from {lengths.min():.3f} to {lengths.max():.3f} mm"
        where = f"between {paths[odd[0]].name} and {paths[odd[0] + 1].name}"
        more = f" and at {len(odd) - 1} more places" if len(odd) > 1 else ""
        raise InputError(source, reason, f"find the missing slices {where}{more}, or {_ONE_BY_ONE}")
