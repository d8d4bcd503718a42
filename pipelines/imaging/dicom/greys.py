"""Stored values to real ones (Modality LUT), and those to the greys that a file asks for (VOI LUT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ..volumes.windows import Window, show
from .geometry import macro
from .parsing import UnsoundError, numbers, printable, text

Line = tuple[float, float]
_INT16 = np.iinfo(np.int16)
_MOST = float(np.finfo(np.float32).max)
_SOUND = "export it again with sound rescale values"


class Sigmoid(NamedTuple):
    """Greys 1 / (1 + exp(-4 (x - centre) / width)), PS3.3 C.11.2.1.3.1."""

    centre: float
    width: float


class Table(NamedTuple):
    """A lookup table: the entry of ``first``, of ``first + 1``, ...; of ``bits`` bits each."""

    first: int
    entries: NDArray[np.uint16]
    bits: int

    def look_up(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """The entries of the values, of any shape; beyond its ends the table goes on with its ends."""
        places = np.rint(np.nan_to_num(values.astype(np.float64)) - self.first).clip(0, len(self.entries) - 1)
        return np.asarray(self.entries[places.astype(np.intp)], np.uint16)


Voi = Window | Sigmoid | Table


def real_values(dataset: Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    """The values that the stored ones stand for (CT: HU).

    Args:
        dataset: of the image.
        stored: (F, R, C).

    Returns:
        (F, R, C): the stored values where the file says nothing else; int16 where that holds them, else float32.

    Raises:
        UnsoundError: no 32-bit number holds them.
    """
    if dataset.get("ModalityLUTSequence"):
        table = read_table(dataset, dataset.ModalityLUTSequence[0])
        looked_up = np.stack([table.look_up(frame) for frame in stored])
        return looked_up.astype(np.int16 if looked_up.max() <= _INT16.max else np.float32)
    lines = [_line(dataset, frame) for frame in range(len(stored))]
    if set(lines) == {(1.0, 0.0)}:
        return stored
    low, high = int(stored.min()), int(stored.max())
    ends = [slope * value + intercept for slope, intercept in set(lines) for value in (low, high)]
    if not max(map(abs, ends)) < _MOST:
        raise UnsoundError("is rescaled to values that no 32-bit number holds", _SOUND)
    whole = _fit_int16(lines, ends)
    values = np.empty(stored.shape, np.int16 if whole else np.float32)
    for index, (slope, intercept) in enumerate(lines):
        values[index] = stored[index] * slope + intercept  # float64 between: exact for whole numbers below 2^53
    return values


def real_padding(dataset: Dataset) -> Window | None:
    """The real values of the padding around the picture, where the file names it."""
    padding = numbers(dataset, "PixelPaddingValue", 1)
    if padding is None or dataset.get("ModalityLUTSequence"):
        return None
    limit = numbers(dataset, "PixelPaddingRangeLimit", 1) or padding
    slope, intercept = _line(dataset, 0)
    ends = sorted([padding[0] * slope + intercept, limit[0] * slope + intercept])
    return Window(*ends)


def asked_greys(dataset: Dataset, frame: int) -> Voi | None:
    """What the file asks for: its first VOI lookup table, else its first window.

    LINEAR puts the ends of a window half a value inside of LINEAR_EXACT (PS3.3 C.11.2.1.2). It is not defined for a
    width below 1, which files in fractions have none the less: those are taken as exact.
    """
    group = macro(dataset, frame, "FrameVOILUTSequence") or dataset
    if group.get("VOILUTSequence"):
        return read_table(dataset, group.VOILUTSequence[0])
    centre, width = numbers(group, "WindowCenter", 1), numbers(group, "WindowWidth", 1)
    if centre is None or width is None or width[0] <= 0:
        return None
    (middle,), (wide,) = centre, width
    function = text(group, "VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        return Sigmoid(middle, wide)
    if function == "LINEAR" and wide > 1:
        return Window(middle - 0.5 - (wide - 1) / 2, middle - 0.5 + (wide - 1) / 2)
    return Window(middle - wide / 2, middle + wide / 2)


def show_as_asked(values: NDArray[Any], voi: Voi, inverted: bool) -> NDArray[np.uint8]:
    """Values of any shape as greys, 0-255."""
    if isinstance(voi, Window):
        return show(values, voi, inverted)
    if isinstance(voi, Table):
        return show(voi.look_up(values), Window(0, 2**voi.bits - 1), inverted)
    exponent = -4 * (values.astype(np.float64) - voi.centre) / voi.width
    return show(1 / (1 + np.exp(exponent.clip(-99, 99))), Window(0, 1), inverted)


def read_table(dataset: Dataset, item: Dataset) -> Table:
    """A Modality or VOI lookup table.

    Raises:
        ValueError: it is shorter than it says, or not of 8 to 16 bits.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count or 2**16  # 0 stands for what 16 bits cannot hold
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        entries = np.frombuffer(data, np.uint8 if len(data) < 2 * count else f"{order}u2")
    else:
        entries = np.atleast_1d(np.asarray(data, np.uint16))
    if len(entries) < count or not 8 <= bits <= 16:
        raise ValueError(f"lookup table has {len(entries)} of {count} entries, of {bits} bits")
    return Table(first, entries[:count].astype(np.uint16), bits)


def _line(dataset: Dataset, frame: int) -> Line:
    """Rescale slope and intercept."""
    group = macro(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = _rescale(group, "RescaleSlope", 1.0), _rescale(group, "RescaleIntercept", 0.0)
    if slope == 0:
        raise UnsoundError("has a RescaleSlope of 0, which makes all values one", _SOUND)
    return slope, intercept


def _rescale(group: Dataset, keyword: str, default: float) -> float:
    """A number that values are rescaled by; what is there and no finite number is not taken for the default."""
    try:
        if group.get(keyword) in (None, ""):
            return default
        found = numbers(group, keyword, 1)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None:
        raw = group.get_item(keyword)
        value = raw.value.decode("latin-1") if isinstance(raw.value, bytes) else raw.value
        raise UnsoundError(f"has a {keyword} that is no finite number ({printable(value, 40)!r})", _SOUND)
    return found[0]


def _fit_int16(lines: Sequence[Line], ends: Sequence[float]) -> bool:
    whole = all(number.is_integer() for line in set(lines) for number in line)
    return whole and _INT16.min <= min(ends) and max(ends) <= _INT16.max
