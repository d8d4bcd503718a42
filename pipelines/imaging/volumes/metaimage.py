"""MetaImage's header (MHA, MHD). https://itk.org/Wiki/ITK/MetaIO/Documentation"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

from ...core.errors import InputError
from .headers import (
    Header,
    byte_count,
    data_file,
    harmless,
    read_head,
    refuse_axes,
    short,
    whole_number,
    whole_numbers,
    word_type,
)
from .streams import DAMAGED, Place

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_GEOMETRY = (
    *("Offset", "Position", "Origin", "TransformMatrix", "Rotation", "Orientation"),
    *("ElementSpacing", "ElementSize", "CenterOfRotation", "AnatomicalOrientation"),
)
_VOXELS = (
    *("NDims", "DimSize", "ElementType", "ElementNumberOfChannels", "ElementDataFile", "HeaderSize", "DistanceUnits"),
    *("BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData", "CompressedDataSize"),
)
_GZIP = b"\x1f\x8b"


def read_meta_header(path: Path) -> Header:
    """The header, judged.

    Raises:
        InputError: it is none, contradicts itself or the size of its data, or names what is not read here.
    """
    fields, end = _fields(path)
    axes = whole_number(path, "NDims", fields["NDims"])
    refuse_axes(path, axes)
    spatial = whole_numbers(path, "DimSize", fields["DimSize"], axes)
    values = whole_number(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    if not _is_true(fields, "BinaryData", "True"):
        raise InputError(path, "holds its voxels as text", "save it in binary form")
    if (unit := fields.get("DistanceUnits", "mm")).lower() not in ("mm", "?", ""):
        raise InputError(path, f"gives its lengths in {short(unit)}", "save it in mm")
    most_first = _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
    kind = word_type(path, fields["ElementType"], _TYPES, ">" if most_first else "<")
    sizes = (values, *spatial) if values != 1 else spatial
    place = _place(path, fields, end, byte_count(sizes, kind))
    return Header(sizes, 0 if values != 1 else None, kind, place, _text(path, fields))


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields, and where the header ends: with the name of the data."""
    fields: dict[str, str] = {}
    end = 0
    for line in BytesIO(read_head(path)):
        field = re.fullmatch(rb"\s*([^=:]+?)\s*[=:]\s*(.*?)\s*", line)
        if not field or "ElementDataFile" in fields:
            break
        name = field[1].decode(errors="replace")
        if name in fields and name in (*_VOXELS, *_GEOMETRY):
            raise InputError(path, f"gives {name} twice", DAMAGED)
        fields[name] = field[2].decode(errors="surrogateescape")
        end += len(line)
    missing = [name for name in ("NDims", "DimSize", "ElementType", "ElementDataFile") if name not in fields]
    if missing:
        raise InputError(path, f"is no MetaImage: its header has no {missing[0]}", DAMAGED)
    return fields, end


def _is_true(fields: dict[str, str], name: str, otherwise: str = "False") -> bool:
    return fields.get(name, otherwise)[:1] in ("T", "t", "1")


def _place(path: Path, fields: dict[str, str], end: int, size: int) -> Place:
    local = fields["ElementDataFile"].lower() == "local"
    file = path if local else data_file(path, fields["ElementDataFile"])
    begin = end if local else whole_number(path, "HeaderSize", fields.get("HeaderSize", "0"))
    if not _is_true(fields, "CompressedData"):
        return Place(file, begin if begin >= 0 else max(0, file.stat().st_size - size), 0, size)
    held = file.stat().st_size - begin
    stored = whole_number(path, "CompressedDataSize", fields.get("CompressedDataSize", "-1" if local else str(held)))
    if begin < 0 or stored != held:
        reason = f"is cut off or damaged: its header declares {stored} packed bytes, there are {held}"
        raise InputError(path, reason, DAMAGED)
    with file.open("rb") as stream:
        stream.seek(begin)
        return Place(file, begin, 0, size, "gzip" if stream.read(2) == _GZIP else "zlib")


def _text(path: Path, fields: dict[str, str]) -> str:
    shown = ("NDims", *_GEOMETRY, "ElementNumberOfChannels", "DimSize", "ElementType")
    lines = [f"{name} = {harmless(path, name, fields[name])}\n" for name in shown if name in fields]
    return "".join(["ObjectType = Image\n", *lines, "ElementDataFile = LOCAL\n"])
