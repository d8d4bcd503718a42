"""Files of public data sets over the network: resumed after a break, checked, unpacked; refused when wrong."""

from __future__ import annotations

import errno
import hashlib
import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from ..core.errors import DelineateError, InputError
from ..core.files import write_atomically
from ..core.sums import SUMS, sha256
from .archives import kind_of, require_space, unpack
from .catalogue import RemoteFile

BLOCK = 1 << 18
PAUSES = (1.0, 5.0, 20.0)
TIMEOUT = 60.0  # seconds without a byte
SLOWEST = 1000  # bytes a second, over TIMEOUT
MOST_BYTES = 64 << 30  # of a file whose size the catalogue does not know
MOST_TIMES = 2  # as large as the catalogue says may a file have become
AGAIN = "run the same command again; if it stays so, ask the publisher"

Progress = Callable[[int, int | None], None]


def obtain(
    file: RemoteFile,
    folder: Path,
    *,
    scheme: str = "https",
    pauses: Sequence[float] = PAUSES,
    progress: Progress = lambda done, total: None,
) -> str:
    """Download a file, check it, unpack it; what is there already is not done again.

    Args:
        file: as in the catalogue.
        folder: existing; the file goes there, and what it holds beside it.
        scheme: the only one that is spoken, also after a redirection.
        pauses: seconds before each further attempt.
        progress: called with the bytes that are there and, where known, those there will be.

    Returns:
        What the file was checked against, in a sentence.

    Raises:
        InputError: the file is another than it should be, or no whole archive; it is kept as ``NAME.refused``.
        DelineateError: the connection broke off, or the disk is too small; the same call goes on from there.
    """
    target, unchecked = folder / file.name, folder / f"{file.name}.unchecked"
    if (folder / (file.holds or file.name)).exists():
        return "there already"
    if not target.exists() and not unchecked.exists():
        _download(file, folder, scheme, pauses, progress).replace(unchecked)
    arrived = target if target.exists() else unchecked
    try:
        checked = _check(arrived, file)
        arrived = arrived.replace(target)
        if file.holds:
            unpack(target, folder / file.holds, inside=file.holds)
    except InputError as error:
        refused = arrived.replace(folder / f"{file.name}.refused")
        raise InputError(refused, error.reason, error.remedy) from error
    return checked or _note(target)


def space_needed(files: Sequence[RemoteFile], folder: Path) -> int:
    """Bytes that the files, and what they hold, will still take in ``folder``, as far as the catalogue knows."""
    return sum(_space_needed(file, folder) for file in files if not (folder / (file.holds or file.name)).exists())


def _space_needed(file: RemoteFile, folder: Path) -> int:
    paths = (folder / f"{file.name}{ending}" for ending in ("", ".unchecked", ".part"))
    there = sum(path.stat().st_size for path in paths if path.exists())
    copies = 2 if file.holds else 1  # images hardly shrink when they are packed
    return max(0, copies * (file.size or 0) - there)


def _download(file: RemoteFile, folder: Path, scheme: str, pauses: Sequence[float], progress: Progress) -> Path:
    """The path of the file's bytes, all there as far as the server says."""
    if urlsplit(file.url).scheme != scheme:
        raise DelineateError(f"{file.url}: only {scheme} is spoken; correct the address")
    opener = build_opener(_SameHost())
    part = folder / f"{file.name}.part"
    for pause in (*pauses, None):
        try:
            _receive(file, part, opener, progress)
            break
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DelineateError(
                    f"{folder}: the disk is full; make room, then run the same command again"
                ) from error
            said = f"{file.url}: {str(error) or type(error).__name__}"
            if _is_final(error):
                remedy = f"see its publisher's page, or put the file into {folder} yourself and run the same command"
                raise DelineateError(f"{said}; {remedy}") from error
            if pause is None:
                raise DelineateError(f"{said}; run the same command again, it goes on where this ended") from error
            time.sleep(pause)
    _version_of(part).unlink(missing_ok=True)
    return part


def _is_final(error: Exception) -> bool:
    """Whether the server's answer will be the same next time."""
    if isinstance(error, HTTPError):
        return 300 <= error.code < 500 and error.code not in (408, 416, 429)
    return isinstance(error, URLError) and isinstance(error.reason, ssl.SSLCertVerificationError)


def _receive(file: RemoteFile, part: Path, opener: OpenerDirector, progress: Progress) -> None:
    """One attempt to complete ``part``; goes on where the last one ended if the server has the same version still.

    Raises:
        DelineateError: there is more than the file can be, as announced or as sent.
        OSError: the connection broke off or is too slow.
    """
    version = _version_of(part)
    there = part.stat().st_size if part.exists() and version.exists() else 0
    headers = {"User-Agent": "delineate", "Accept-Encoding": "identity"}
    if there:
        headers |= {"Range": f"bytes={there}-", "If-Range": version.read_text("latin-1")}
    try:
        answer = opener.open(Request(file.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416:  # there is no such range: begin anew
            part.unlink()
        raise
    with answer:
        _refuse_packed(answer)
        total = _total(answer, there)
        if answer.status != 206:
            there = 0
            part.write_bytes(b"")
            _note_version(answer, version)
        elif (now := _version_name(answer)) and now != version.read_text("latin-1"):
            version.unlink()  # so that the next attempt begins anew
            raise ConnectionError("sent a part of another version than asked for")
        limit = MOST_TIMES * file.size if file.size else MOST_BYTES
        _refuse_excess(file, part, total or 0, limit)
        require_space(part.parent, (total or there) - there)
        with part.open("ab") as out:
            for block in _blocks(answer):
                out.write(block)
                there += len(block)
                progress(there, total)
                _refuse_excess(file, part, there, limit)
    if total is not None and there != total:
        raise ConnectionError(f"broke off after {there} of {total} bytes")


def _blocks(answer: HTTPResponse) -> Iterator[bytes]:
    """What the server sends, as it comes.

    Raises:
        TimeoutError: it sends next to nothing.
    """
    start, came = time.monotonic(), 0
    while block := answer.read1(BLOCK):
        yield block
        came += len(block)
        if (seconds := time.monotonic() - start) >= TIMEOUT:
            if came < SLOWEST * seconds:
                raise TimeoutError(f"timed out: {came} bytes in {seconds:.0f} seconds")
            start, came = time.monotonic(), 0


def _refuse_excess(file: RemoteFile, part: Path, size: int, limit: int) -> None:
    if size > limit:
        part.unlink(missing_ok=True)
        _version_of(part).unlink(missing_ok=True)
        known = "the most a file may have" if file.size is None else f"the catalogue says {file.size}"
        raise DelineateError(
            f"{file.url}: more than {limit} bytes ({known}), so it was stopped and removed; "
            "see on the publisher's page whether the file has changed"
        )


def _refuse_packed(answer: HTTPResponse) -> None:
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise DelineateError(
            f"{answer.url}: is sent packed ({encoding}), which was not asked for; download it with a browser"
        )


def _total(answer: HTTPResponse, there: int) -> int | None:
    """Bytes of the whole file as the server says it."""
    if answer.status != 206:
        return answer.length
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if not match or int(match[1]) != there:
        raise ConnectionError(f"sent another part than asked for ({answer.headers.get('Content-Range')})")
    return int(match[2])


def _version_of(part: Path) -> Path:
    """The file that keeps what the server calls the version of ``part``."""
    return part.with_name(f"{part.name}.version")


def _note_version(answer: HTTPResponse, version: Path) -> None:
    """Keep the ETag, or the date where it does not stand for each byte; without either there is no going on."""
    if name := _version_name(answer):
        version.write_text(name, "latin-1")
    else:
        version.unlink(missing_ok=True)


def _version_name(answer: HTTPResponse) -> str | None:
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


class _SameHost(HTTPRedirectHandler):
    """Follows a redirection on one host only, in one scheme."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise DelineateError(
                f"{req.full_url}: redirects to {newurl}, another host or scheme, which is not followed; "
                "see on the publisher's page whether the data set has moved"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check(path: Path, file: RemoteFile) -> str | None:
    """Compare with the publisher's sum, or that of an earlier download; ``None`` where there is neither."""
    if file.holds:
        kind_of(path)
    if file.md5:
        if (seen := _md5(path)) != file.md5:
            raise InputError(path, f"has MD5 {seen}, its publisher says {file.md5}", AGAIN)
        return "agrees with the publisher's MD5"
    noted = _noted(path.parent).get(file.name)
    if noted and sha256(path) != noted:
        remedy = f"{AGAIN}; if it was changed on purpose, take its line out of {SUMS}"
        raise InputError(path, f"has another SHA-256 than the first download, noted in {SUMS}", remedy)
    return f"agrees with the first download, noted in {SUMS}; its publisher gives no sum" if noted else None


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _noted(folder: Path) -> dict[str, str]:
    """Name to SHA-256."""
    text = (folder / SUMS).read_text() if (folder / SUMS).exists() else ""
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}


def _note(path: Path) -> str:
    noted = _noted(path.parent) | {path.name: sha256(path)}
    write_atomically(path.parent / SUMS, "".join(f"{digest}  {name}\n" for name, digest in noted.items()).encode())
    return f"not checked against its publisher, who gives no sum; its SHA-256 is noted in {SUMS} for the next time"
