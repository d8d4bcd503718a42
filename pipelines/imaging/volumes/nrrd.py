"""NRRD's header (NRRD, NHDR). https://teem.sourceforge.net/nrrd/format.html"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from ...core.errors import InputError
from .headers import (
    MOST_HEADER,
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

_WORDS = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPES = {word: kind for kind, words in _WORDS.items() for word in words}
_SHOWN = (
    *("type", "dimension", "space", "space dimension", "sizes", "space directions", "space origin", "spacings"),
    *("axis mins", "axis maxs", "centers", "centerings", "kinds"),
)
_KNOWN = ("encoding", "endian", "data file", "line skip", "byte skip", "space units", "units", *_SHOWN)
_SPELT = {name.replace(" ", ""): name for name in _KNOWN}
_DOMAIN = ("domain", "space", "time", "none", "???")  # kinds of axes that are no channels


def read_nrrd_header(path: Path) -> Header:
    """The header, judged.

    Raises:
        InputError: it is none, contradicts itself or the size of its data, or names what is not read here.
    """
    fields, end = _fields(path)
    axes = whole_number(path, "dimension", fields["dimension"])
    refuse_axes(path, axes)
    sizes = whole_numbers(path, "sizes", fields["sizes"], axes)
    order: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
    kind = word_type(path, fields["type"].lower(), _TYPES, order.get(fields.get("endian", "").lower()))
    _refuse_units(path, fields)
    place = _place(path, fields, end, byte_count(sizes, kind))
    return Header(sizes, _channels(path, fields, axes), kind, place, _text(path, fields), "space" in fields)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields that matter here, and where the header ends."""
    head = read_head(path)
    if not re.match(rb"NRRD000\d\r?\n", head):
        raise InputError(path, "is no NRRD", DAMAGED)
    blank = re.search(rb"\r?\n\r?\n", head)
    if blank is None and len(head) == MOST_HEADER:
        raise InputError(path, f"has a header of more than {MOST_HEADER} bytes", DAMAGED)
    fields: dict[str, str] = {}
    for line in re.split(rb"[\r\n]+", head[: blank.start() if blank else len(head)])[1:]:
        spelt, colon, value = line.decode(errors="surrogateescape").partition(":")
        name = _SPELT.get("".join(spelt.lower().split()))
        if not colon or not name or value.startswith("="):  # comments, and keys with values
            continue
        if name in fields:
            raise InputError(path, f"gives its {name} more than once", "save it as one file")
        fields[name] = value.strip()
    missing = [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]
    if missing:
        raise InputError(path, f"is no NRRD: its header has no {missing[0]}", DAMAGED)
    return fields, blank.end() if blank else len(head)


def _refuse_units(path: Path, fields: dict[str, str]) -> None:
    for unit in re.findall(r'"([^"]*)"', fields.get("space units", "")):
        if unit.lower() not in ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "???", ""):
            raise InputError(path, f"gives its lengths in {short(unit)}", "save it in mm")


def _channels(path: Path, fields: dict[str, str], axes: int) -> int | None:
    """The axis of the values in a voxel."""
    kinds = fields.get("kinds", "").lower().split()
    if kinds and len(kinds) != axes:
        raise InputError(path, f"says that kinds is {short(fields['kinds'])}, for {axes} axes", DAMAGED)
    if "complex" in kinds:
        raise InputError(path, "has complex numbers", "save real numbers")
    others = [axis for axis, kind in enumerate(kinds) if kind not in _DOMAIN]
    if len(others) > 1:
        reason = f"has several axes of channels (kinds is {short(fields['kinds'])})"
        raise InputError(path, reason, "save a volume with one of them")
    return others[0] if others else None


def _place(path: Path, fields: dict[str, str], end: int, size: int) -> Place:
    name = fields.get("data file")
    file, begin = (path, end) if name is None else (data_file(path, name), 0)
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(path, f"is encoded as {short(encoding)}", "save it as raw or gzip")
    if whole_number(path, "line skip", fields.get("line skip", "0")) != 0:
        raise InputError(path, "skips lines before its data", "save it as one file")
    skip = whole_number(path, "byte skip", fields.get("byte skip", "0"))
    if skip < (-1 if encoding == "raw" else 0):
        raise InputError(path, f"skips {skip} bytes before its data", DAMAGED)
    if encoding != "raw":
        return Place(file, begin, skip, size, "gzip")
    return Place(file, max(0, file.stat().st_size - size) if skip == -1 else begin + skip, 0, size)


def _text(path: Path, fields: dict[str, str]) -> str:
    lines = [f"{name}: {harmless(path, name, fields[name])}\n" for name in _SHOWN if name in fields]
    return "".join(["NRRD0005\n", *lines, "encoding: raw\nendian: little\n\n"])
