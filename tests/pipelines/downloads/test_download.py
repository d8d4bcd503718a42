from __future__ import annotations

import errno
import hashlib
import io
import re
import ssl
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch
from urllib.error import URLError

import pytest

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.datasets.layouts import detect
from delineate.pipelines.downloads import download
from delineate.pipelines.downloads.catalogue import DATASETS, RemoteFile
from delineate.pipelines.downloads.download import space_needed

obtain = partial(download.obtain, scheme="http", pauses=(0.0, 0.0))


def zipped(text: bytes = b"pixels" * 50) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("images/a.png", text)
    return buffer.getvalue()


@dataclass
class Site:
    """A server of one file, as well- or ill-behaved as it is told."""

    data: bytes = field(default_factory=zipped)
    version: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    takes_ranges: bool = True
    claims: int | None = None  # a Content-Length that is not so
    breaks: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    status: int = 200
    location: str | None = None
    waits: float = 0  # seconds before it answers
    drips: float = 0  # seconds after each byte
    without_length: str = ""  # "close", "chunked"; it then goes on for ever
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)  # the ranges
    url: str = ""

    def file(self, name: str = "a.zip", md5: bool = False, holds: str | None = "images") -> RemoteFile:
        return RemoteFile(f"{self.url}/{name}", md5=hashlib.md5(self.data).hexdigest() if md5 else None, holds=holds)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        self.protocol_version = "HTTP/1.1" if site.without_length == "chunked" else "HTTP/1.0"
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        site.asked.append(self.headers.get("Range"))
        time.sleep(site.waits)
        same = self.headers.get("If-Range") in site.version.values()
        start = int(wanted[1]) if wanted and same and site.takes_ranges else 0
        if start >= len(site.data):
            self.send_error(416)
            return
        self.send_response(206 if start else site.status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.data) - 1}/{site.claims or len(site.data)}")
        if site.location:
            self.send_header("Location", site.location)
        for name, value in site.version.items():
            self.send_header(name, value)
        for name, value in site.headers.items():
            self.send_header(name, value)
        if site.without_length:
            self.send_for_ever(chunked=site.without_length == "chunked")
            return
        self.send_header("Content-Length", str((site.claims or len(site.data)) - start))
        self.end_headers()
        body = site.data[start:]
        for byte in body if site.drips else b"":
            self.wfile.write(bytes([byte]))
            time.sleep(site.drips)
        self.wfile.write(body[: site.breaks.pop(0)] if site.breaks else body)

    def send_for_ever(self, chunked: bool) -> None:
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        block = bytes(1 << 16)
        with suppress(OSError):
            while True:
                self.wfile.write(b"10000\r\n" + block + b"\r\n" if chunked else block)

    def log_message(self, *words: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # joined when it is closed

    def handle_error(self, *words: object) -> None:
        """Be silent about clients that hang up."""


def serve(site: Site) -> Iterator[Site]:
    server = Server(("127.0.0.1", 0), type("Its", (Handler,), {"site": site}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield from serve(Site())


@pytest.fixture
def other() -> Iterator[Site]:
    yield from serve(Site())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_with_a_published_sum_is_downloaded_checked_and_unpacked(site: Site, tmp_path: Path) -> None:
    assert obtain(site.file(md5=True), tmp_path) == "agrees with the publisher's MD5"
    assert names(tmp_path) == ["a.zip", "images"]
    assert (tmp_path / "images/a.png").read_bytes() == b"pixels" * 50


def test_a_file_that_is_no_archive_stays_as_it_is(site: Site, tmp_path: Path) -> None:
    obtain(site.file("a.csv", md5=True, holds=None), tmp_path)
    assert (tmp_path / "a.csv").read_bytes() == site.data
    assert names(tmp_path) == ["a.csv"]


def test_without_a_published_sum_it_says_so_and_notes_its_own(site: Site, tmp_path: Path) -> None:
    assert "not checked against its publisher" in obtain(site.file(), tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == f"{hashlib.sha256(site.data).hexdigest()}  a.zip\n"


def test_what_is_there_is_not_downloaded_again(site: Site, tmp_path: Path) -> None:
    obtain(site.file(), tmp_path)
    assert obtain(site.file(), tmp_path) == "there already"
    assert len(site.asked) == 1


@pytest.mark.parametrize("name", ["a.zip", "a.zip.unchecked"])
def test_an_archive_that_is_there_is_checked_and_unpacked(site: Site, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(site.data)
    obtain(site.file(md5=True), tmp_path)
    assert names(tmp_path) == ["a.zip", "images"]
    assert not site.asked


def test_a_later_download_is_compared_with_the_first(site: Site, tmp_path: Path) -> None:
    obtain(site.file(), tmp_path)
    (tmp_path / "images").rename(tmp_path / "moved")
    assert "agrees with the first download" in obtain(site.file(), tmp_path)


def test_a_later_download_that_differs_from_the_first_is_refused(site: Site, tmp_path: Path) -> None:
    obtain(site.file(), tmp_path)
    for entry in (tmp_path / "images/a.png", tmp_path / "a.zip"):
        entry.unlink()
    (tmp_path / "images").rmdir()
    site.data = zipped(b"other pixels")
    with pytest.raises(InputError, match="another SHA-256 than the first download"):
        obtain(site.file(), tmp_path)
    assert names(tmp_path) == ["SHA256SUMS", "a.zip.refused"]


@pytest.mark.parametrize("version", [{"ETag": '"one"'}, {"ETag": 'W/"weak"', "Last-Modified": "Sat, 01 Jan 2022"}])
def test_a_break_is_resumed_where_it_was(site: Site, tmp_path: Path, version: dict[str, str]) -> None:
    site.version, site.breaks = version, [100, 50]
    obtain(site.file(md5=True), tmp_path)
    assert site.asked == [None, "bytes=100-", "bytes=150-"]
    assert names(tmp_path) == ["a.zip", "images"]


def test_a_break_that_stays_is_told_and_the_next_call_goes_on(site: Site, tmp_path: Path) -> None:
    site.breaks = [100, 0, 0]
    with pytest.raises(DelineateError, match=rf"after 100 of {len(site.data)} bytes; run the same command again"):
        obtain(site.file(md5=True), tmp_path)
    obtain(site.file(md5=True), tmp_path)
    assert site.asked[-1] == "bytes=100-"
    assert names(tmp_path) == ["a.zip", "images"]


@pytest.mark.parametrize(("ranges", "version"), [(False, {"ETag": '"one"'}), (True, {})])
def test_without_ranges_or_a_version_it_begins_anew(
    site: Site, tmp_path: Path, ranges: bool, version: dict[str, str]
) -> None:
    site.takes_ranges, site.version, site.breaks = ranges, version, [100]
    obtain(site.file(md5=True), tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == site.data
    assert site.asked == [None, "bytes=100-" if version else None]


def test_a_file_that_changed_in_between_begins_anew(site: Site, tmp_path: Path) -> None:
    site.breaks = [100, 0, 0]
    with pytest.raises(DelineateError):
        obtain(site.file(), tmp_path)
    site.version, site.data = {"ETag": '"two"'}, zipped(b"newer pixels")
    obtain(site.file(md5=True), tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == site.data


def test_a_part_that_is_longer_than_the_file_begins_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(bytes(9999))
    (tmp_path / "a.zip.part.version").write_text('"one"')
    obtain(site.file(md5=True), tmp_path)
    assert site.asked == ["bytes=9999-", None]


def test_a_length_that_is_too_long_is_noticed(site: Site, tmp_path: Path) -> None:
    site.claims = len(site.data) + 100
    with pytest.raises(DelineateError, match="run the same command again"):
        obtain(site.file(), tmp_path)
    assert "a.zip" not in names(tmp_path)


@pytest.mark.parametrize("md5", [True, False])
def test_a_length_that_is_too_short_is_noticed(site: Site, tmp_path: Path, md5: bool) -> None:
    site.claims = len(site.data) - 30
    with pytest.raises(InputError, match="MD5" if md5 else "is broken"):
        obtain(site.file(md5=md5), tmp_path)
    assert names(tmp_path) == ["a.zip.refused"]


def test_a_wrong_file_is_refused_by_name_and_kept_apart_and_the_right_one_taken_later(
    site: Site, tmp_path: Path
) -> None:
    file, right = site.file(md5=True), site.data
    site.data = zipped(b"another file")
    with pytest.raises(InputError, match=r"a\.zip\.refused: has MD5 \w+, its publisher says \w+"):
        obtain(file, tmp_path)
    assert names(tmp_path) == ["a.zip.refused"]
    site.data = right
    obtain(file, tmp_path)
    assert names(tmp_path) == ["a.zip", "a.zip.refused", "images"]


def test_a_web_page_in_place_of_an_archive_is_called_one(site: Site, tmp_path: Path) -> None:
    site.data = b"<!DOCTYPE html><title>Please log in</title>"
    with pytest.raises(InputError, match="is a web page"):
        obtain(site.file(), tmp_path)
    assert names(tmp_path) == ["a.zip.refused"]


def test_an_archive_that_climbs_out_is_refused(site: Site, tmp_path: Path) -> None:
    site.data = site.data.replace(b"images/a.png", b"../../../evl")
    (folder := tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="leads out of its folder"):
        obtain(site.file(md5=True), folder)
    assert names(folder) == ["a.zip.refused"]
    assert names(tmp_path) == ["in"]


def test_a_missing_file_is_told_at_once(site: Site, tmp_path: Path) -> None:
    site.status = 404
    with pytest.raises(DelineateError, match=r"404.*publisher's page"):
        obtain(site.file(), tmp_path)
    assert len(site.asked) == 1


def test_a_server_in_trouble_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.status = 503
    with pytest.raises(DelineateError, match=r"503.*run the same command again"):
        obtain(site.file(), tmp_path)
    assert len(site.asked) == 3


def test_a_server_that_does_not_answer_is_given_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    site.waits = 0.2
    with pytest.raises(DelineateError, match="timed out; run the same command again"):
        obtain(site.file(), tmp_path)


def test_a_false_certificate_is_told_at_once(tmp_path: Path) -> None:
    error = URLError(ssl.SSLCertVerificationError("self-signed certificate"))
    with (
        patch("urllib.request.OpenerDirector.open", side_effect=error) as opened,
        pytest.raises(DelineateError, match=r"self-signed certificate.*put the file into"),
    ):
        download.obtain(RemoteFile("https://127.0.0.1/a.zip"), tmp_path)
    opened.assert_called_once()


def test_a_server_that_drips_is_given_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    site.drips = 0.02
    with pytest.raises(DelineateError, match=r"timed out: .*run the same command again"):
        download.obtain(site.file(), tmp_path, scheme="http", pauses=())


@pytest.mark.parametrize("how", ["close", "chunked"])
@pytest.mark.parametrize("size", [1_000_000, None])
def test_a_file_without_end_is_stopped(
    site: Site, tmp_path: Path, how: str, size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MOST_BYTES", 3_000_000)
    site.without_length = how
    moves: list[int] = []
    with pytest.raises(DelineateError, match=rf"more than {2 * size if size else 3_000_000} bytes .* was stopped"):
        obtain(replace(site.file(), size=size), tmp_path, progress=lambda done, total: moves.append(done))
    assert moves[-1] < 4_000_000
    assert names(tmp_path) == []
    assert len(site.asked) == 1


def test_a_length_beyond_what_the_file_can_have_is_refused_before_the_first_byte(site: Site, tmp_path: Path) -> None:
    moves: list[int] = []
    site.claims = 10**9
    with pytest.raises(DelineateError, match="the catalogue says 100"):
        obtain(replace(site.file(), size=100), tmp_path, progress=lambda done, total: moves.append(done))
    assert not moves


def test_a_part_of_another_version_is_not_joined_to_what_is_there(site: Site, tmp_path: Path) -> None:
    site.breaks = [100, 0, 0]
    with pytest.raises(DelineateError):
        obtain(site.file(), tmp_path)
    (tmp_path / "a.zip.part").write_bytes(b"x" * 100)
    site.headers = {"ETag": '"two"'}
    site.version = {"X-Answers-To": '"one"'}  # takes the old name for its own, and sends what is new
    obtain(site.file(md5=True), tmp_path)
    assert site.asked[-2:] == ["bytes=100-", None]
    assert (tmp_path / "a.zip").read_bytes() == site.data


def test_what_is_sent_packed_is_refused(site: Site, tmp_path: Path) -> None:
    site.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(DelineateError, match=r"is sent packed \(gzip\), which was not asked for"):
        obtain(site.file(), tmp_path)


def test_a_disk_that_fills_up_is_told_at_once(site: Site, tmp_path: Path) -> None:
    with (
        patch.object(download, "_blocks", side_effect=OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(DelineateError, match="the disk is full; make room, then run the same command again"),
    ):
        obtain(site.file(), tmp_path)
    assert len(site.asked) == 1


def test_no_server_is_told(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="run the same command again"):
        obtain(RemoteFile("http://127.0.0.1:1/a.zip"), tmp_path)


@pytest.mark.parametrize("to", ["{other}/a.zip", "ftp://127.0.0.1/a.zip", "https://127.0.0.1/a.zip"])
def test_a_redirection_to_another_host_or_scheme_is_refused(site: Site, other: Site, tmp_path: Path, to: str) -> None:
    site.status, site.location = 302, to.format(other=other.url)
    with pytest.raises(DelineateError, match="another host or scheme"):
        obtain(site.file(), tmp_path)
    assert not other.asked


def test_nothing_but_https_is_spoken(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="only https is spoken"):
        download.obtain(site.file(), tmp_path)
    assert not site.asked


def test_a_proxy_of_the_environment_is_used(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.url)
    obtain(RemoteFile("http://data.invalid/a.zip", holds="images"), tmp_path)
    assert (tmp_path / "images/a.png").exists()


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(site: Site, tmp_path: Path) -> None:
    with patch("shutil.disk_usage") as usage:
        usage.return_value.free = len(site.data) - 1
        with pytest.raises(DelineateError, match="make room"):
            obtain(site.file(), tmp_path)
    assert (tmp_path / "a.zip.part").stat().st_size == 0


def test_the_space_that_is_needed_shrinks_with_what_is_there(tmp_path: Path) -> None:
    files = [RemoteFile("https://h/a.zip", 100, holds="a"), RemoteFile("https://h/b.csv", 7), RemoteFile("https://h/c")]
    assert space_needed(files, tmp_path) == 207
    (tmp_path / "a.zip.part").write_bytes(bytes(60))
    (tmp_path / "b.csv").touch()
    assert space_needed(files, tmp_path) == 140


def test_progress_is_told_to_the_last_byte(site: Site, tmp_path: Path) -> None:
    moves: list[tuple[int, int | None]] = []
    site.breaks = [100]
    obtain(site.file(), tmp_path, progress=lambda done, total: moves.append((done, total)))
    assert moves == [(100, len(site.data)), (len(site.data), len(site.data))]


@pytest.mark.parametrize(
    ("layout", "name", "entries"),
    [
        ("isic", "isic2018", ["ISIC_0000001.jpg", "ISIC_0000001_segmentation.png", "LICENSE.txt"]),
        ("busi", "busi", ["benign/benign (1).png", "benign/benign (1)_mask.png"]),
        ("hc18", "hc18", ["000_HC.png", "000_HC_Annotation.png"]),
    ],
)
def test_what_was_downloaded_is_a_layout_as_it_is(tmp_path: Path, layout: str, name: str, entries: list[str]) -> None:
    for file in DATASETS[name].files:
        if file.holds:
            with zipfile.ZipFile(tmp_path / file.name, "w") as archive:
                for entry in entries:
                    archive.writestr(f"{file.holds}/{entry}", b"1")
            obtain(RemoteFile(file.url, holds=file.holds), tmp_path)
        else:
            (tmp_path / file.name).write_text("filename,pixel size(mm),head circumference (mm)\n000_HC.png,0.1,40\n")
    assert detect(tmp_path) == layout
