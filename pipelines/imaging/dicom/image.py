"""One DICOM image file: real values, where they lie, and the picture a viewer would show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..volumes.windows import Percentiles, Window, resolve, show
from .geometry import Plane, Spacing, SpacingKind, read_planes, read_spacing
from .greys import Voi, asked_greys, real_padding, real_values, show_as_asked
from .header import GREY, declared, read_header
from .parsing import parse, refusing, stamp, text, uid
from .pixels import decode


@dataclass(frozen=True, eq=False)
class DicomImage:
    """A DICOM image of one or several frames.

    Attributes:
        source: the file.
        values: (F, R, C) real values (CT: HU), int16 or float32; the stored ones where they stand for nothing else; or
            (F, R, C, 3) uint8 RGB. Not writeable: the array is shared.
        inverted: low values are to be shown bright (MONOCHROME1).
        sop_uid: SOP Instance UID, ``""`` where it breaks the standard's form.
        series_uid: Series Instance UID, likewise.
        patient_id: ``""`` where there is none.
        modality: ``CT``, ``US``, ...
        spacing: distance of rows, of columns, mm.
        spacing_kind: as `read_spacing` tells.
        planes: where each frame lies, mm in LPS+.
        asked: the greys that the file asks for, of each frame.
        padding: the values around the picture that are no measurements.
        greys: black and white of pictures whose stored values are greys as they are, of 8 bits or less.
    """

    source: Path
    values: NDArray[Any]
    inverted: bool
    sop_uid: str
    series_uid: str
    patient_id: str
    modality: str
    spacing: Spacing | None
    spacing_kind: SpacingKind | None
    planes: tuple[Plane, ...] | None
    asked: tuple[Voi | None, ...]
    padding: Window | None
    greys: Window | None

    @property
    def is_colour(self) -> bool:
        """Whether the values are RGB."""
        return self.values.ndim == 4

    def picture(self, frame: int, window: Window | Percentiles | None = None) -> NDArray[np.uint8]:
        """A frame as a viewer shows it.

        Args:
            frame: from 0.
            window: as `parse_window` gives it; ``None`` for what the file asks for, else greys of up to 8 bits as they
                are, else the `OUTER` percentiles. Percentiles are those of all frames, without padding. RGB takes none.

        Returns:
            (R, C) or (R, C, 3), 0-255.
        """
        values = self.values[frame]
        if self.is_colour:
            return np.array(values)
        voi = self.asked[frame] or self.greys if window is None else window
        if voi is None or isinstance(voi, Percentiles):
            return show(values, _percentiles(self, voi), self.inverted)
        return show_as_asked(values, voi, self.inverted)


def read_dicom(path: str | Path) -> DicomImage:
    """Read an image file. The last two are kept, so that frames can be asked for one by one.

    Raises:
        SkippedError: the file is in order but no image.
        InputError: it is broken, too large, or of a kind that is not read here.
    """
    path = Path(path)
    with refusing(path):
        return _read(path, stamp(path))


@lru_cache(maxsize=2)
def _read(path: Path, changed: tuple[int, int] | None) -> DicomImage:
    read_header(path)  # refuses before pixel data are loaded
    dataset, _ = parse(path, pixels=True)
    header = declared(path, dataset)
    stored = decode(path, dataset, header)
    is_grey = header.photometric in GREY
    values = real_values(dataset, stored) if is_grey else stored
    values.flags.writeable = False
    plain = is_grey and values is stored and header.stored <= 8 and stored.dtype == np.uint8
    spacing, kind = read_spacing(dataset)
    return DicomImage(
        source=path,
        values=values,
        inverted=header.photometric == "MONOCHROME1",
        sop_uid=uid(dataset, "SOPInstanceUID"),
        series_uid=uid(dataset, "SeriesInstanceUID"),
        patient_id=text(dataset, "PatientID"),
        modality=text(dataset, "Modality"),
        spacing=spacing,
        spacing_kind=kind,
        planes=read_planes(dataset, header.frames),
        asked=tuple(asked_greys(dataset, frame) if is_grey else None for frame in range(header.frames)),
        padding=real_padding(dataset) if is_grey else None,
        greys=Window(0, 2**header.stored - 1) if plain else None,
    )


@lru_cache(maxsize=2)
def _percentiles(image: DicomImage, window: Percentiles | None) -> Window:
    values, padding = image.values, image.padding
    if padding:
        values = values[(values < padding.low) | (values > padding.high)]
    return resolve(window, values)
