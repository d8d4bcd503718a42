from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.downloads.archives import LARGE, kind_of, require_space, unpack

Maker = Callable[[Path, Mapping[str, bytes]], Path]
FILES = {"set/a.png": b"a" * 3000, "set/inner/b b (1).png": b"", "LICENSE": b"free"}


def make_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: Mapping[str, bytes], mode: Literal["w", "w:gz"] = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def make_tgz(path: Path, files: Mapping[str, bytes]) -> Path:
    return make_tar(path, files, "w:gz")


MAKERS = pytest.mark.parametrize("make", [make_zip, make_tar, make_tgz])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refuse(archive: Path, match: str, most_bytes: int = 1 << 40, most_files: int = 100) -> None:
    """The archive is refused by name and leaves nothing beside itself."""
    with pytest.raises(InputError, match=match) as refusal:
        unpack(archive, archive.parent / "out", most_bytes=most_bytes, most_files=most_files)
    assert refusal.value.source == str(archive)
    assert list(archive.parent.iterdir()) == [archive]


@MAKERS
def test_an_archive_is_unpacked_as_it_was_packed(tmp_path: Path, make: Maker) -> None:
    unpack(make(tmp_path / "a", FILES), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out"]


@MAKERS
def test_a_folder_of_an_archive_is_unpacked_alone(tmp_path: Path, make: Maker) -> None:
    unpack(make(tmp_path / "a", FILES), tmp_path / "out", inside="set")
    assert contents(tmp_path / "out") == {"a.png": FILES["set/a.png"], "inner/b b (1).png": b""}


def test_explicit_folders_and_a_leading_dot_are_in_order(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        for name in (".", "./set", "./set/a.png"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.REGTYPE if name.endswith("png") else tarfile.DIRTYPE
            archive.addfile(member)
    unpack(tmp_path / "a", tmp_path / "out", inside="set")
    assert contents(tmp_path / "out") == {"a.png": b""}


def test_a_folder_that_the_archive_does_not_hold_is_missed(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", FILES)
    with pytest.raises(InputError, match="holds no files in other/"):
        unpack(archive, tmp_path / "out", inside="other")


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is there already"):
        unpack(make_zip(tmp_path / "a", FILES), tmp_path / "out")


def test_what_a_killed_process_left_does_not_hinder(tmp_path: Path) -> None:
    (tmp_path / ".out.unpacking/set").mkdir(parents=True)
    (tmp_path / ".out.unpacking/set/a.png").touch()
    unpack(make_zip(tmp_path / "a", FILES), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert not (tmp_path / ".out.unpacking").exists()


@MAKERS
@pytest.mark.parametrize("name", ["../a", "set/../../a", "/etc/a", "C:/a", "c:a", "..\\a", "set\\a"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, make: Maker, name: str) -> None:
    refuse(make(tmp_path / "a", {"set/good.png": b"1", name: b"2"}), "leads out of its folder")


@MAKERS
def test_control_characters_are_refused(tmp_path: Path, make: Maker) -> None:
    refuse(make(tmp_path / "a", {"a\x1b[2Jb": b""}), "control characters")


def test_a_name_that_ends_early_at_a_nul_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"a.png_.exe": b""})
    archive.write_bytes(archive.read_bytes().replace(b"a.png_.exe", b"a.png\0.exe"))
    refuse(archive, "control characters")


@MAKERS
@pytest.mark.parametrize("names", [("a/B.png", "A/b.png"), ("é", "e\u0301"), ("a", "A/b"), ("a/b", "A")])
def test_names_that_some_systems_take_for_one_are_refused(
    tmp_path: Path,
    make: Maker,
    names: tuple[str, str],
) -> None:
    refuse(make(tmp_path / "a", dict.fromkeys(names, b"")), "is there twice")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("a.png", b"2")
    refuse(tmp_path / "a", "is there twice")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refuse(tmp_path / "a", "is a link or device")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("a.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a", "w") as archive:
        archive.addfile(member)
    refuse(tmp_path / "a", "is a link, device or sparse file")


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"a.png": b"1"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    refuse(archive, "'a.png' is encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_by_another_method_than_deflate_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", method) as archive:
        archive.writestr("a.png", b"1")
    refuse(tmp_path / "a", "not packed by deflate")


@MAKERS
def test_more_files_than_allowed_are_refused(tmp_path: Path, make: Maker) -> None:
    refuse(make(tmp_path / "a", FILES), "more than 2 files", most_files=2)


@MAKERS
def test_more_bytes_than_allowed_are_refused(tmp_path: Path, make: Maker) -> None:
    refuse(make(tmp_path / "a", FILES), "more than 3003 bytes", most_bytes=3003)


@pytest.mark.parametrize("make", [make_zip, make_tgz])
def test_a_bomb_is_refused(tmp_path: Path, make: Maker) -> None:
    refuse(make(tmp_path / "a", {"a.png": bytes(LARGE + 1)}), "inflates to more than 200 times its size")


def test_a_bomb_of_small_files_is_refused(tmp_path: Path) -> None:
    refuse(make_zip(tmp_path / "a", {str(n): bytes(LARGE // 4) for n in range(5)}), "all it holds inflates to more")


def test_a_bomb_in_a_header_of_a_tar_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, LARGE + 1
    (tmp_path / "a").write_bytes(gzip.compress(header.tobuf() + bytes(LARGE + 1024)))
    refuse(tmp_path / "a", "all it holds inflates to more")


@pytest.mark.parametrize("declared", [1, 2999, 3001, 9000])
def test_a_file_that_is_not_as_long_as_it_says_is_refused(tmp_path: Path, declared: int) -> None:
    archive = make_zip(tmp_path / "a", {"a.png": b"a" * 3000})
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = declared.to_bytes(4, "little")
    archive.write_bytes(data)
    refuse(archive, "broken|not as long as it says")


def test_a_broken_checksum_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("a.png", b"pixels")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes().replace(b"pixels", b"Pixels"))
    refuse(tmp_path / "a", "is broken .*CRC")


def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a", {"a": b"1", "b": b"2"})
    data = bytearray(archive.read_bytes())
    data[1024 + 20] ^= 1
    archive.write_bytes(data)
    refuse(archive, "a header is damaged")


@MAKERS
@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10_000), flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=3))
def test_a_damaged_archive_is_refused_or_unpacked_and_never_a_surprise(
    tmp_path_factory: pytest.TempPathFactory,
    make: Maker,
    cut: int,
    flips: list[tuple[int, int]],
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    archive = make(folder / "a", FILES)
    data = bytearray(archive.read_bytes())
    for place, bits in flips:
        data[place % len(data)] ^= bits
    archive.write_bytes(data[: len(data) - cut % len(data)] if cut % 3 == 0 else data)
    try:
        unpack(archive, folder / "out")
    except DelineateError:
        assert list(folder.iterdir()) == [archive]
    else:
        assert (folder / "out").is_dir()


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\n<!DOCTYPE html><html>", "is a web page"), (b"GIF89a", "neither zip nor tar"), (b"", "neither zip nor tar")],
)
def test_what_is_no_archive_is_named(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InputError, match=reason):
        kind_of(tmp_path / "a")


def test_a_disk_that_is_too_small_is_told_before(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", FILES)
    with patch("shutil.disk_usage") as usage:
        usage.return_value.free = 3003
        with pytest.raises(DelineateError, match="make room"):
            unpack(archive, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_disk_that_is_large_enough_is_taken(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
