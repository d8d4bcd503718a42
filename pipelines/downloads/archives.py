"""Archives from strangers: unpacked whole, or refused and nothing left behind."""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ..core.errors import DelineateError, InputError

CHUNK = 1 << 20
LARGE = 10 << 20  # bytes; below it a high ratio is common and harmless
MOST_RATIO = 200
ANOTHER = "do not unpack it by other means; take it from its publisher"
BROKEN = (  # what a damaged archive raises, as fuzzing shows
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
)


class _Entry(NamedTuple):
    """A file or folder in an archive; ``packed`` bytes become ``size``."""

    name: str
    is_folder: bool
    size: int
    packed: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    folder: Path,
    *,
    inside: str = "",
    most_bytes: int = 64 << 30,
    most_files: int = 100_000,
) -> None:
    """Unpack a zip, tar or tar.gz archive; ``folder`` appears when all is there and checked.

    Args:
        archive: the file.
        folder: made by this; it must not exist.
        inside: the folder of the archive that becomes ``folder``; the rest stays packed.
        most_bytes: of all files together, unpacked.
        most_files: entries that are accepted.

    Raises:
        InputError: the archive is broken, or holds paths that lead out of their folder or cannot be told apart, links,
            devices, encrypted files, or more than is allowed or declared; or ``folder`` is there.
        DelineateError: the disk is too small, or does not take the files.
    """
    if folder.exists():
        raise InputError(folder, "is there already", "remove it, or unpack to another folder")
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with _open(archive) as entries:
            wanted = _below(PurePosixPath(inside), _checked(archive, entries, most_bytes, most_files))
            if all(entry.is_folder for entry in wanted.values()):
                raise InputError(archive, f"holds no files in {inside or '.'}/", "check that it is the right archive")
            require_space(folder.parent, sum(entry.size for entry in wanted.values()))
            for path, entry in wanted.items():
                _write(archive, entry, temporary / path)
        temporary.replace(folder)
    except BROKEN as error:
        raise InputError(archive, f"is broken ({error})", "download it again") from error
    except OSError as error:
        raise DelineateError(
            f"{archive}: could not be unpacked to {folder} ({error}); put that right, then repeat"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def kind_of(archive: Path) -> str:
    """``"zip"``, ``"tar"`` or ``"tar.gz"``, by the file's first bytes.

    Raises:
        InputError: it is none of these; a web page is called one.
    """
    with archive.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "tar.gz"
    if head[257:262] == b"ustar":
        return "tar"
    is_page = head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))
    reason = "is a web page, no archive" if is_page else f"is neither zip nor tar (it begins with {head[:8]!r})"
    raise InputError(archive, reason, "check the address in a browser")


def require_space(folder: Path, size: int) -> None:
    """Refuse to begin what ``folder``'s disk cannot hold.

    Args:
        folder: an existing folder.
        size: bytes that are needed.

    Raises:
        DelineateError: there are fewer.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DelineateError(
            f"{folder}: {size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; make room or choose another disk"
        )


@contextmanager
def _open(archive: Path) -> Iterator[Iterator[_Entry]]:
    kind = kind_of(archive)
    if kind == "zip":
        with zipfile.ZipFile(archive) as packed:
            yield (_zip_entry(archive, packed, info) for info in packed.infolist())
        return
    if kind == "tar.gz":
        _check_stream(archive)
    with tarfile.open(archive, "r:gz" if kind == "tar.gz" else "r:") as tar:
        yield _tar_entries(archive, tar)


def _zip_entry(archive: Path, packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    name = info.orig_filename  # as written: zipfile cuts `filename` at a NUL
    mode = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 1:
        raise InputError(archive, f"{name!r} is encrypted", "unpack it by hand, with its password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others inflate in one piece
        raise InputError(archive, f"{name!r} is not packed by deflate", "pack it again, as an ordinary zip")
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(archive, f"{name!r} is a link or device", ANOTHER)
    is_folder = info.is_dir() or mode == stat.S_IFDIR
    return _Entry(name, is_folder, info.file_size, info.compress_size, partial(packed.open, info))


def _tar_entries(archive: Path, tar: tarfile.TarFile) -> Iterator[_Entry]:
    for member in tar:
        if not (member.isfile() or member.isdir()) or member.issparse():
            raise InputError(archive, f"{member.name!r} is a link, device or sparse file", ANOTHER)
        yield _Entry(member.name, member.isdir(), member.size, member.size, partial(_tar_file, tar, member))
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)  # tarfile takes a damaged header for the end, which is a block of zeros
    if any(tar.fileobj.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError("a header is damaged")


def _tar_file(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None  # a regular file, as checked
    return file


def _check_stream(archive: Path) -> None:
    """Inflate once and throw away: tarfile would take a header of any length into memory."""
    limit = max(LARGE, MOST_RATIO * archive.stat().st_size)
    with gzip.open(archive) as file:
        while file.read(CHUNK):
            if file.tell() > limit:
                raise _bomb(archive, "all it holds")


def _checked(archive: Path, entries: Iterator[_Entry], most_bytes: int, most_files: int) -> dict[PurePosixPath, _Entry]:
    """The entries by path, in their order; none is opened."""
    checked: dict[PurePosixPath, _Entry] = {}
    known = {_fold(PurePosixPath()): True}
    total = 0
    for count, entry in enumerate(entries, start=1):
        path = _path(archive, entry.name)
        _claim(archive, path, entry.is_folder, known)
        checked[path] = entry
        total += entry.size
        if count > most_files:
            raise InputError(archive, f"holds more than {most_files} files", ANOTHER)
        if total > most_bytes:
            raise InputError(archive, f"holds more than {most_bytes} bytes", ANOTHER)
        if entry.size > max(LARGE, MOST_RATIO * entry.packed):
            raise _bomb(archive, repr(entry.name))
    if total > max(LARGE, MOST_RATIO * archive.stat().st_size):
        raise _bomb(archive, "all it holds")  # entries may share their packed bytes
    return checked


def _bomb(archive: Path, what: str) -> InputError:
    return InputError(archive, f"{what} inflates to more than {MOST_RATIO} times its size", ANOTHER)


def _path(archive: Path, name: str) -> PurePosixPath:
    """The path that ``name`` means everywhere: relative, downwards, without characters that some system reads anew."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or re.match("[A-Za-z]:", name):
        raise InputError(archive, f"{name!r} leads out of its folder", ANOTHER)
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise InputError(archive, f"{name!r} has control characters", ANOTHER)
    return path


def _claim(archive: Path, path: PurePosixPath, is_folder: bool, known: dict[str, bool]) -> None:
    """Add ``path`` and its parents to the ``known`` ones, each with whether it is a folder; refuse what is taken."""
    key = _fold(path)
    in_a_file = any(not known.setdefault(_fold(parent), True) for parent in path.parents)
    if in_a_file or (key in known and not (is_folder and known[key])):
        raise InputError(archive, f"{str(path)!r} is there twice, if upper and lower case are one", ANOTHER)
    known[key] = is_folder


def _fold(path: PurePosixPath) -> str:
    """One text for all names that some file system takes for one."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _below(inside: PurePosixPath, entries: dict[PurePosixPath, _Entry]) -> dict[PurePosixPath, _Entry]:
    return {path.relative_to(inside): entry for path, entry in entries.items() if path.is_relative_to(inside)}


def _write(archive: Path, entry: _Entry, target: Path) -> None:
    if entry.is_folder:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.size
    with entry.open() as packed, target.open("xb") as file:
        while left >= 0 and (chunk := packed.read(CHUNK)):
            left -= len(chunk)
            file.write(chunk)
    if left:
        raise InputError(archive, f"{entry.name!r} is not as long as it says", "download it again")
