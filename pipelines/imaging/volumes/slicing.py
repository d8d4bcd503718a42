"""How volumes become images: the part of a bundle's configuration that a data set of slices shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ...core.errors import DelineateError, UnknownNameError
from .windows import AUTO, Percentiles, Window, parse_window

Axis = Literal["axial", "sagittal", "coronal"]


@dataclass(frozen=True)
class Slicing:
    """How volumes become images; in YAML a mapping of the same names.

    Attributes:
        axis: ``axial``, ``sagittal`` or ``coronal``; ``None`` for images that are no volumes: DICOM files are then read
            one by one, in the plane they were acquired in, and volumes are refused.
        window: as `parse_window` takes it; one for all channels, or a list with one for each modality, or each of their
            channels.
        neighbours: slices on either side that become channels, too (2.5D); at the ends the last slice is repeated.
        modalities: files of one case, on one grid, that become channels; one file may have several channels, too.

    Raises:
        UnknownNameError: there is no such axis.
        DelineateError: the window, or one of the numbers, cannot be understood.
    """

    axis: Axis | None = None
    window: str | Sequence[Any] = AUTO
    neighbours: int = 0
    modalities: int = 1

    def __post_init__(self) -> None:
        if self.axis is not None and self.axis not in get_args(Axis):
            raise UnknownNameError("axis", str(self.axis), get_args(Axis))
        if not isinstance(self.neighbours, int) or self.neighbours < 0:
            raise DelineateError(f"neighbours is {self.neighbours!r}; give a number of slices, 0 or more")
        if not isinstance(self.modalities, int) or self.modalities < 1:
            raise DelineateError(f"modalities is {self.modalities!r}; give the number of volumes of a case, 1 or more")
        assert self.windows  # parsed, so that a wrong one is refused here

    @classmethod
    def of(cls, settings: Slicing | Mapping[str, Any] | None) -> Slicing:
        """From configuration.

        Raises:
            DelineateError: a name or a value is not understood.
        """
        if isinstance(settings, Slicing):
            return settings
        unknown = [name for name in settings or {} if name not in cls.__dataclass_fields__]
        if unknown:
            raise UnknownNameError("setting of slicing", unknown[0], cls.__dataclass_fields__)
        return cls(**(settings or {}))

    @property
    def windows(self) -> list[Window | Percentiles | None]:
        """One window for all modalities, or one for each."""
        several = isinstance(self.window, list | tuple) and any(not isinstance(one, int | float) for one in self.window)
        return [parse_window(one) for one in (self.window if several else [self.window])]

    def as_dict(self) -> dict[str, Any]:
        """As configuration and data lists hold it."""
        return asdict(self)
