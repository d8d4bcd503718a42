"""From values as measured (HU, MR intensities) to greys of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DelineateError, closest


class Window(NamedTuple):
    """The values that are shown from black to white, both ends included."""

    low: float
    high: float


class Percentiles(NamedTuple):
    """A window from the values themselves: percentiles of the whole volume, 0-100."""

    low: float
    high: float


AUTO = "auto"
OUTER = Percentiles(0.5, 99.5)
"""What ``auto`` takes where the source asks for no window."""

PRESETS = {
    name: Window(centre - width / 2, centre + width / 2)
    for name, (centre, width) in {
        "abdomen": (40, 400),
        "bone": (400, 1800),
        "brain": (40, 80),
        "liver": (30, 150),
        "lung": (-600, 1500),
        "mediastinum": (50, 350),
        "spine": (50, 250),
        "stroke": (40, 40),
        "subdural": (75, 215),
    }.items()
}
"""CT, in HU; centres and widths after Radiopaedia, Windowing (CT), https://doi.org/10.53347/rID-52108."""


def parse_window(text: str | Sequence[float]) -> Window | Percentiles | None:
    """A window as configuration and command line write it.

    Args:
        text: a name of `PRESETS`; centre and width, ``"40,400"`` or ``[40, 400]``; percentiles, ``"0.5%,99.5%"``; or
            ``auto``: what the source asks for, else `OUTER`.

    Returns:
        ``None`` for ``auto``.

    Raises:
        DelineateError: it is none of these.
    """
    if text == AUTO:
        return None
    if isinstance(text, str) and text in PRESETS:
        return PRESETS[text]
    given = text if isinstance(text, list | tuple) else str(text).split(",")
    parts = [str(part).strip() for part in given]
    percent = [part.endswith("%") for part in parts]
    try:
        low, high = (float(part.removesuffix("%")) for part in parts)
        if any(percent) != all(percent):
            raise ValueError("one percentile")
    except ValueError:
        hint = closest(str(text), PRESETS)
        needed = f"a name ({', '.join(PRESETS)}), CENTRE,WIDTH, LOW%,HIGH% or auto"
        raise DelineateError(f"window is {text!r}; {hint + '? ' if hint else ''}needed is {needed}") from None
    if all(percent):
        if not 0 <= low < high <= 100:
            raise DelineateError(f"window is {text!r}; percentiles go from 0 to 100, the lower first")
        return Percentiles(low, high)
    if not (high > 0 and np.isfinite([low, high]).all()):
        raise DelineateError(f"window is {text!r}; the width, its second number, must be above 0")
    return Window(low - high / 2, low + high / 2)


def resolve(window: Window | Percentiles | None, values: NDArray[Any], asked: Window | None = None) -> Window:
    """The window in values; equal percentiles (nearly all is air) give way to the least and the greatest value.

    Args:
        window: as `parse_window` gives it.
        values: of the whole volume; NaN and infinities are left out.
        asked: the source's own window, where it has one; ``auto`` takes it.
    """
    if window is None and asked is not None:
        return asked
    if isinstance(window, Window):
        return window
    low, high = window or OUTER
    is_copy = values.dtype.kind == "f"
    finite = values[np.isfinite(values)] if is_copy else values
    if not finite.size:
        return Window(0.0, 0.0)
    black, white = np.percentile(finite, [low, high], overwrite_input=is_copy)
    black, white = (black, white) if black < white else (finite.min(), finite.max())
    return Window(float(black), float(white))


def show(values: NDArray[Any], window: Window, inverted: bool = False) -> NDArray[np.uint8]:
    """Values as greys, 0-255: below the window black, above it white, NaN black; a window without width shows nothing.

    Args:
        values: any shape.
        window: in the same unit.
        inverted: low values bright.
    """
    width = window.high - window.low
    if not width > 0:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # far outside a narrow window, and NaN
        share = ((values.astype(np.float32) - np.float32(window.low)) / np.float32(width)).clip(0, 1)
    return np.asarray(np.rint(255 * np.nan_to_num(1 - share if inverted else share)), np.uint8)
