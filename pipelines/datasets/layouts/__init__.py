"""Readers of foreign folder layouts: each finds the pairs of image and masks, and names what it cannot pair.

They look at names, tables and headers; `index` looks at pixels. A new layout is a module and a line in `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ...core.errors import InputError
from ...imaging.item import Item
from .advice import about_no_folder, about_no_layout
from .base import Found, Layout
from .busbra import BUSBRA, busbra
from .busi import BUSI, busi
from .dicom import DICOM, dicom, dicom_series
from .hc18 import HC18, hc18
from .isic import ISIC, isic
from .jsrt import JSRT, jsrt
from .kvasir import KVASIR, kvasir
from .nerve import NERVE, nerve
from .nifti import NIFTI, nifti
from .paired import PAIRED, paired
from .ph2 import PH2, ph2
from .stu import STU, stu
from .table import CSV, table

__all__ = [
    "LAYOUTS",
    "Found",
    "Item",
    "Layout",
    "busbra",
    "busi",
    "detect",
    "dicom",
    "dicom_series",
    "explain",
    "hc18",
    "isic",
    "jsrt",
    "kvasir",
    "nerve",
    "nifti",
    "paired",
    "ph2",
    "stu",
    "table",
]

LAYOUTS: dict[str, Layout] = {
    "isic": ISIC,
    "busi": BUSI,
    "busbra": BUSBRA,
    "stu": STU,
    "kvasir": KVASIR,
    "jsrt": JSRT,
    "paired": PAIRED,
    "nerve": NERVE,
    "hc18": HC18,
    "ph2": PH2,
    "csv": CSV,
    "nifti": NIFTI,
    "dicom": DICOM,
}


_ARE_PAIRED = {"busbra", "jsrt", "kvasir"}


def detect(source: Path) -> str:
    """The name of the layout that ``source`` has; as `explain`."""
    return explain(source)[0]


def explain(source: Path) -> tuple[str, str]:
    """The name of the layout that ``source`` has, and by what it is recognised.

    A table with the right columns was made for this purpose and goes before whatever else is there.

    Raises:
        InputError: ``source`` is neither a folder nor a table, is empty, or has no known layout, or more than one.
    """
    if source.is_file() and source.suffix.lower() == ".csv":
        return "csv", "is a table"
    if not source.is_dir():
        raise about_no_folder(source)
    reasons = _reasons(source)
    names = list(reasons)
    if not names:
        raise about_no_layout(source, _names, partial(_is_part, source))
    if len(names) > 1 and "csv" not in names:
        raise InputError(source, f"has several layouts ({', '.join(names)})", "name one with --layout")
    name = "csv" if "csv" in names else names[0]
    return name, reasons[name]


def _names(folder: Path, among: Sequence[str] = tuple(LAYOUTS)) -> list[str]:
    return list(_reasons(folder, among))


def _is_part(source: Path, layout: str) -> bool:
    """Whether the folder above, in this layout, has images or masks in ``source``."""
    try:
        items, _ = LAYOUTS[layout].read(source.parent)
    except InputError:
        return False
    return any(path.is_relative_to(source) for item in items for path in (*item.files, *item.label))


def _reasons(source: Path, among: Sequence[str] = tuple(LAYOUTS)) -> dict[str, str]:
    """The layouts that a folder has, and by what they are recognised."""
    reasons = {name: reason for name in among if (reason := LAYOUTS[name].matches(source))}
    if _ARE_PAIRED & reasons.keys():
        reasons.pop("paired", None)  # the same folders, of which more is known
    return reasons
