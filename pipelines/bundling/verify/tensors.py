"""A file of weights looked into without loading it: tensors and plain containers, nothing that runs or unfolds."""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
from pathlib import Path

_MAX_PICKLE = 8 << 20  # bytes of data.pkl, which holds names and shapes, not the values
_MAX_OPCODES = 2_000_000
_MAX_DIRECTORY = 16 << 20  # bytes of the archive's list of members
_MEMBER = re.compile(
    r"(?P<top>[^/]+)/(data\.pkl|version|byteorder|data/\d+|\.data/serialization_id|\.format_version|\.storage_alignment)"
)
_GLOBAL = re.compile(
    r"collections (OrderedDict|Counter)"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
    r"|torch\.nn\.parameter Parameter|torch\.serialization _get_layout|_codecs encode"
    r"|torch (Size|device|bool|bfloat16|float(16|32|64)|u?int\d+|complex\d+|[A-Z][A-Za-z0-9]*Storage)"
    r"|torch\.storage (Untyped|Typed)Storage"
)
_OPCODES_REFUSED = frozenset({"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX", "PERSID"})


def weights_problem(path: Path) -> str | None:
    """Look into a torch file without loading it.

    Args:
        path: a file written by ``torch.save``.

    Returns:
        None when it holds tensors and plain containers only, otherwise what is wrong and what to do.
    """
    again = "save the state dict again with torch.save(model.state_dict(), path)"
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"PK\x03\x04":
                return f"not a torch file in zip format; {again}"
        if problem := _directory_problem(path):
            return f"{problem}; {again}"
        with zipfile.ZipFile(path) as archive:
            problem = _members_problem(archive)
            if problem is None:
                name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                problem = _pickle_problem(archive.read(name))
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        IndexError,
    ) as error:
        problem = f"cannot be read ({type(error).__name__})"
    return f"{problem}; {again}" if problem else None


def _directory_problem(path: Path) -> str | None:
    """Read the size of the list of members from the archive's last bytes, before all of it is read."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - 98))
        tail = stream.read()
    end = tail[-22:]
    if len(end) < 22 or end[:4] != b"PK\x05\x06":
        return "cannot be read (its list of members is not at its end)"
    (length,) = struct.unpack("<L", end[12:16])
    if tail[-42:-38] == b"PK\x06\x07" and tail[-98:-94] == b"PK\x06\x06":  # of 64 bits
        (length,) = struct.unpack("<Q", tail[-98 + 40 : -98 + 48])
    return "lists more members than any state dict has" if length > _MAX_DIRECTORY else None


def _members_problem(archive: zipfile.ZipFile) -> str | None:
    packed = [i for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED or i.file_size != i.compress_size]
    if packed:
        return f"its member {packed[0].filename!r} is compressed, and could unfold to any size"
    if sum(info.file_size for info in archive.infolist()) > Path(str(archive.filename)).stat().st_size:
        return "has members that lie over each other, and could unfold to any size"
    names = archive.namelist()
    matches = [_MEMBER.fullmatch(name) for name in names]
    strange = [name for name, match in zip(names, matches, strict=True) if match is None]
    if strange:
        return f"holds {strange[0]!r}, which is not part of a state dict"
    if len(set(names)) < len(names) or len({match["top"] for match in matches if match}) != 1:
        return "holds parts of more than one file"
    pickles = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > _MAX_PICKLE:
        return "has no data.pkl of a state dict's size"
    return None


def _pickle_problem(data: bytes) -> str | None:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count > _MAX_OPCODES:
            return "its pickle is longer than that of any state dict"
        if opcode.name in _OPCODES_REFUSED:
            return f"its pickle uses {opcode.name}, which can build any object"
        if opcode.name == "GLOBAL" and not _GLOBAL.fullmatch(str(argument)):
            return f"its pickle names {str(argument).replace(' ', '.')!r}, which is no tensor"
    return None
