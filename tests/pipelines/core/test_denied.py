"""What this user may not read is called so, and nobody is told to convert or remove it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from paired_pictures import entries, load, make_paired
from PIL import Image
from rights import forbidden

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.core.files import denied
from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.datasets.groups import audited_pairs
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.datasets.layouts import detect
from delineate.pipelines.datasets.layouts.table import read_table
from delineate.pipelines.imaging.dicom import read_header
from delineate.pipelines.imaging.masks import read_mask
from delineate.pipelines.imaging.pictures import read_image
from delineate.pipelines.imaging.unchanged import content_hash, refuse_changed
from delineate.pipelines.imaging.volumes.formats import read_volume
from delineate.pipelines.inference.inputs import find_images
from delineate.pipelines.inference.result_table import own_files

SAID = "permission denied; ask for the right to read it"
READERS: dict[str, Callable[[Path], object]] = {
    "a.png": lambda path: read_image(path, "rgb"),
    "a_mask.png": read_mask,
    "a.dcm": read_header,
    "a.nii.gz": read_volume,
    "a.mha": read_volume,
    "a.csv": read_table,
}


def write_picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path, format="PNG")
    return path


@pytest.mark.parametrize("name", READERS)
def test_each_reader_says_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"something")
    with forbidden(path), pytest.raises(InputError) as error:
        READERS[name](path)
    assert str(error.value) == f"{path}: {SAID}"


def test_what_may_be_read_or_is_not_there_is_not_denied(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.mkfifo(tmp_path / "pipe")
    assert [denied(tmp_path / name) for name in ("", "a", "pipe", "missing")] == [None] * 4


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.nii.gz", "no_suffix"])
def test_a_file_of_a_folder_is_refused_and_the_rest_is_found(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / "b.png")
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    with forbidden(tmp_path / name):
        said: list[InputError] = []
        found = find_images(tmp_path, said.append)
    assert "b" in [item["name"] for item in found]
    assert [str(error) for error in said] == ([] if name in ("a.png", "a.nii.gz") else [f"{tmp_path / name}: {SAID}"])
    assert name not in ("a.png", "a.nii.gz") or len(found) == 2  # by its name; its reader refuses it


@pytest.mark.parametrize("mode", [0o000, 0o600, 0o300], ids=["nothing", "names alone", "no names"])
@pytest.mark.parametrize("below", ["", "sub"])
def test_a_folder_is_refused_and_what_lies_beside_it_is_found(tmp_path: Path, below: str, mode: int) -> None:
    write_picture(tmp_path / "source/sub/a.png")
    write_picture(tmp_path / "source/b.png")
    closed = tmp_path / "source" / below
    with forbidden(closed, mode):
        said: list[InputError] = []
        found = find_images(tmp_path / "source", said.append)
    assert [item["name"] for item in found] == (["b"] if below else [])
    assert f"{closed}: {SAID}" in map(str, said)


@pytest.mark.parametrize("name", ["images/a.png", "masks/a.png"])
def test_an_index_goes_on_with_the_other_pairs(tmp_path: Path, name: str) -> None:
    source = make_paired(tmp_path / "source")
    with forbidden(source / name):
        report = index_dataset(source, out=tmp_path / "out")
    assert [str(error) for error in report.refused] == [f"{source / name}: {SAID}"]
    assert len(entries(load(tmp_path / "out"))) == 9


def test_a_folder_beside_the_pairs_is_named(tmp_path: Path) -> None:
    source = make_paired(tmp_path / "source")
    (source / "more").mkdir()
    with forbidden(source / "more"):
        report = index_dataset(source, out=tmp_path / "out")
    assert [str(error) for error in report.refused] == [f"{source / 'more'}: {SAID}"]


def test_files_that_nobody_may_read_are_no_unknown_layout(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"something")
    with forbidden(tmp_path / "a.dcm"), pytest.raises(InputError, match=SAID):
        detect(tmp_path)


def test_an_image_that_was_indexed_is_not_called_changed(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png")
    known = content_hash(path)
    with forbidden(path), pytest.raises(InputError, match=SAID):
        refuse_changed(path, known)


def test_the_voxels_beside_a_header_are_named(tmp_path: Path) -> None:
    header = tmp_path / "a.nhdr"
    header.write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nspace: left-posterior-superior\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\ndata file: a.raw\n"
    )
    (tmp_path / "a.raw").write_bytes(bytes(range(8)))
    assert read_volume(header).voxels.shape == (2, 2, 2)
    with forbidden(tmp_path / "a.raw"), pytest.raises(InputError) as error:
        read_volume(header)
    assert str(error.value) == f"{tmp_path / 'a.raw'}: {SAID}"


def test_the_names_of_structures_are_not_lost_in_silence(tmp_path: Path) -> None:
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 2), np.uint8), np.eye(4)), tmp_path / part / "a.nii.gz")
    (tmp_path / "dataset.json").write_text('{"labels": {"0": "background", "1": "a", "2": "b"}, "training": []}')
    with forbidden(tmp_path / "dataset.json"), pytest.raises(InputError, match=SAID):
        index_dataset(tmp_path, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("datalist.json", Datalist.read),
        ("audit.json", lambda folder: audited_pairs([], folder)),
        ("results.csv", own_files),
    ],
)
def test_files_of_delineate_are_not_called_damaged_nor_missing(
    tmp_path: Path, name: str, read: Callable[[Path], object]
) -> None:
    (tmp_path / name).write_text("{}")
    with forbidden(tmp_path / name), pytest.raises(InputError) as error:
        read(tmp_path)
    assert str(error.value) == f"{tmp_path / name}: {SAID}"
