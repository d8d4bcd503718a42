from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_image
from PIL import Image

from delineate.pipelines.core.errors import SkippedError
from delineate.pipelines.datasets.index import index_dataset

GREY = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
MASK = np.eye(16, dtype=np.uint8) * 255


def indexed(source: Path, out: Path, layout: str = "auto") -> dict[str, tuple[bool, str]]:
    """What was named, and whether it counts as refused."""
    report = index_dataset(source, layout, out=out)
    return {
        Path(one.source).relative_to(source).as_posix(): (not isinstance(one, SkippedError), one.reason)
        for one in report.refused
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    for number, pixels in enumerate(GREY):
        Image.fromarray(pixels).save(tmp_path / f"in/images/{number}.png")
        Image.fromarray(MASK).save(tmp_path / f"in/masks/{number}.png")
    return tmp_path / "in"


def test_pictures_that_cannot_be_read_are_refused_wherever_they_lie(source: Path, tmp_path: Path) -> None:
    for name in ("images/a.gif", "extra/scan.psd", "film.mp4", "notes.txt", "Thumbs.db", ".hidden.gif"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"anything")
    assert indexed(source, tmp_path / "out") == {
        "images/a.gif": (True, "is GIF, which is not read"),
        "extra/scan.psd": (True, "is a file of an image editor, which is not read"),
        "film.mp4": (True, "is a film, which is not read"),
    }


def test_pictures_that_the_layout_leaves_out_are_named_by_folder(source: Path, tmp_path: Path) -> None:
    (source / "previews").mkdir()
    for number in range(3):
        Image.fromarray(GREY[number]).save(source / f"previews/{number}.png")
    write_image(source / "scans/IM1", GREY[0])
    assert indexed(source, tmp_path / "out", "paired") == {
        "previews": (False, "holds 3 image files not part of the layout paired (e.g. 0.png)"),
        "scans": (False, "holds 1 image file not part of the layout paired (e.g. IM1)"),
    }


def test_a_dicom_folder_names_its_other_files(tmp_path: Path) -> None:
    for number, pixels in enumerate(GREY):
        write_image(tmp_path / f"in/{number}.dcm", pixels, PatientID=f"patient {number}")
    os.mkfifo(tmp_path / "in/pipe.dcm")
    (tmp_path / "in/clip.avi").write_bytes(b"anything")
    assert indexed(tmp_path / "in", tmp_path / "out") == {
        "clip.avi": (True, "is a film, which is not read"),
        "pipe.dcm": (True, "is no regular file"),
    }


def test_an_archive_beside_its_folder_and_a_table_leave_nothing_over(source: Path, tmp_path: Path) -> None:
    (source / "images.zip").write_bytes(b"PK\3\4")
    assert indexed(source, tmp_path / "out") == {}
    (source / "a.gif").write_bytes(b"GIF89a")
    (source / "table.csv").write_text("image,label\n" + "".join(f"images/{n}.png,masks/{n}.png\n" for n in range(4)))
    assert indexed(source, tmp_path / "more", "csv") == {}


def test_the_mask_of_a_refused_image_is_not_left_over(source: Path, tmp_path: Path) -> None:
    Image.fromarray(GREY[0]).save(source / "images/0.bmp")
    Image.fromarray(GREY[0]).save(source / "01.png")
    assert indexed(source, tmp_path / "out").keys() == {"images/0.bmp", "images/0.png", "."}
