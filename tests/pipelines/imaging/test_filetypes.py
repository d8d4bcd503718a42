from __future__ import annotations

import os
import socket
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from delineate.pipelines.imaging.filetypes import READABLE, is_picture, refuse_foreign, sniff, sniff_bytes

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8))


def content(kind: str) -> bytes:
    buffer = BytesIO()
    PICTURE.save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", [kind for kind in READABLE if kind not in ("AVIF", "HEIF")])
@pytest.mark.parametrize("name", ["a", "a.dat", "a.dcm", "IMG.0001", "a.gif"])
def test_a_picture_is_known_by_its_content_whatever_its_name(tmp_path: Path, kind: str, name: str) -> None:
    path = write(tmp_path / name, content(kind))
    assert sniff(path) == kind
    assert is_picture(path) == (kind != "TIFF" or name != "a.gif")


@pytest.mark.parametrize("name", ["a.JPG", "a.jpe", "a.jfif", "a.WebP", "a.heic", "a.HIF", "a.avif"])
def test_suffixes_of_pictures_are_taken_at_their_word(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, b"")
    assert is_picture(path)
    assert refuse_foreign(path) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.gif", "is GIF, which is not read; save it as PNG"),
        ("a.jp2", "is JPEG 2000"),
        ("a.SVG", "is a drawing"),
        ("a.psd", "is a file of an image editor"),
        ("a.nef", "is a camera's raw data"),
        ("a.pgm", "is a Netpbm picture"),
        ("a.tga", "is a picture of a kind that is not read"),
        ("a.jxl", "is JPEG XL"),
        ("a.ico", "is an icon"),
        ("a.pdf", "is a document"),
        ("a.mp4", "is a film, which is not read; save the frames that you want as PNG (ffmpeg -i FILM"),
        ("a.zip", "is an archive, which is not read; unpack it"),
        ("a.tar.gz", "is an archive"),
        ("a.npy", "is a file of arrays, which is not read; save each image as PNG and each volume as .nii.gz"),
        ("a.svs", "is a microscope's or slide scanner's image"),
        ("a.img", "is a volume of a kind that is not read; convert it to .nii.gz"),
        ("a.ima", "is no DICOM in spite of its name"),
    ],
)
def test_other_forms_of_images_are_named_with_what_to_do(tmp_path: Path, name: str, words: str) -> None:
    found = refuse_foreign(write(tmp_path / name, b"anything"))
    assert found is not None
    assert str(found).startswith(f"{tmp_path / name}: {words}")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"GIF89a", ".gif"),
        (b"\0\0\0\x20ftypisom", ".mp4"),
        (b"\0\0\0\x14ftypqt  ", ".mp4"),
        (b"\0\0\0\x18ftypcrx ", ".cr3"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"RIFF\0\0\0\0AVI LIST", ".avi"),
        (b"%PDF-1.7", ".pdf"),
        (b"\x93NUMPY\1\0", ".npy"),
        (b"BMW drivers' manual", ""),
        (b"RIFF\0\0\0\0WAVEfmt ", ""),
        (b"plain words", ""),
        (b"II*\0".ljust(128, b"\0") + b"DICM", "DICOM"),
    ],
)
def test_first_bytes_tell_what_a_file_without_suffix_is(tmp_path: Path, start: bytes, kind: str) -> None:
    assert sniff_bytes(start.ljust(132, b"\0")) == kind
    path = write(tmp_path / "a", start.ljust(132, b"\0"))
    assert (refuse_foreign(path) is not None) == kind.startswith(".")


@pytest.mark.parametrize(
    "name", ["notes.txt", "a.csv", "a.csv.gz", "a.json", "a.md", "a.html", "a.py", "LICENSE", "a.xyz"]
)
def test_what_is_plainly_no_image_is_passed_over_without_a_word(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, b"PK" if name == "a.csv" else b"plain words")
    assert not is_picture(path)
    assert refuse_foreign(path) is None


def test_raw_data_that_are_tiff_outside_are_no_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "photo.dng", content("TIFF"))
    assert not is_picture(path)
    assert "camera's raw data" in str(refuse_foreign(path))


@pytest.mark.parametrize(("header", "data"), [("a.mhd", "a.raw"), ("a.mhd", "a.zraw"), ("a.nhdr", "a.raw.gz")])
def test_the_voxels_of_a_detached_header_are_no_file_of_their_own(tmp_path: Path, header: str, data: str) -> None:
    write(tmp_path / header, b"NDims = 3")
    assert refuse_foreign(write(tmp_path / data, b"voxels")) is None


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.gif", "a"])
def test_pipes_and_sockets_are_never_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / f"pipe{name}")
    place = Path(os.path.relpath(tmp_path))  # paths of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / f"s{name}"))
        for path in (tmp_path / f"pipe{name}", tmp_path / f"s{name}"):
            assert sniff(path) == ""
            refused = refuse_foreign(path)
            assert refused is None if path.suffix == "" else "is no regular file" in str(refused)


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert "is a link to nothing" in str(refuse_foreign(tmp_path / "a.png"))
