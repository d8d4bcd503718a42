from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.volumes.formats import read_grid, read_volume

META = "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nspace: LPS\nsizes: 2 2 2\nencoding: raw\n"
NRRD += "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"


def refused(path: Path, reason: str, *, by_header: bool = True) -> None:
    for read in (read_volume, read_grid) if by_header else (read_volume,):
        with pytest.raises(InputError, match=reason):
            read(path)


def test_a_nrrd_in_ras_is_not_turned(tmp_path: Path) -> None:
    text = NRRD.replace("space: LPS", "space: RAS").replace("(0,0,0)", "(5,6,7)")
    (tmp_path / "a.nrrd").write_bytes(f"{text}\n".encode() + bytes(8))
    assert read_volume(tmp_path / "a.nrrd").affine[:3].tolist() == [[1, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 7]]


def test_a_metaimage_bomb_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(9_000_000))
    header = f"{META}CompressedData = True\nCompressedDataSize = {len(bomb)}\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + bomb)
    refused(tmp_path / "a.mha", "holds more than the 8 bytes", by_header=False)


@pytest.mark.parametrize("stored", ["", "CompressedDataSize = 99999999999999\n", "CompressedDataSize = -3\n"])
def test_a_metaimage_that_lies_about_its_compressed_size_is_refused(tmp_path: Path, stored: str) -> None:
    header = f"{META}CompressedData = True\n{stored}ElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + zlib.compress(bytes(8)))
    refused(tmp_path / "a.mha", "cut off or damaged", by_header=False)


def test_complex_numbers_of_nrrd_are_refused(tmp_path: Path) -> None:
    header = NRRD.replace("uchar", "float").replace("dimension: 3", "dimension: 4").replace("2 2 2", "2 2 2 2")
    text = header.replace("directions:", "directions: none") + "kinds: complex domain domain domain\nendian: little\n\n"
    (tmp_path / "a.nrrd").write_bytes(text.encode() + bytes(64))
    refused(tmp_path / "a.nrrd", "complex")


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/hostname", "sub/../../secret.raw", "link.raw"])
@pytest.mark.parametrize("suffix", [".mhd", ".mha", ".nhdr", ".nrrd"])
def test_data_files_outside_the_folder_are_refused(tmp_path: Path, name: str, suffix: str) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(8))
    (tmp_path / "case" / "sub").mkdir(parents=True)
    (tmp_path / "case" / "link.raw").symlink_to(tmp_path / "secret.raw")
    path = tmp_path / "case" / f"a{suffix}"
    path.write_text(f"{META}ElementDataFile = {name}\n" if suffix[1] == "m" else f"{NRRD}data file: {name}\n")
    refused(path, "outside its folder")


@pytest.mark.parametrize("field", ["Data File", "datafile", "DATA FILE"])
def test_no_spelling_of_the_field_leads_outside(tmp_path: Path, field: str) -> None:
    (tmp_path / "a.nrrd").write_text(f"{NRRD}{field}: /etc/hostname\n")
    refused(tmp_path / "a.nrrd", "outside its folder")


@pytest.mark.parametrize("name", ["LIST", "a%03d.raw 1 9 1"])
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_data_in_several_files_is_refused(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text(f"{META}ElementDataFile = {name}\n" if suffix[1] == "m" else f"{NRRD}data file: {name}\n")
    refused(path, "in several files")


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_data_in_a_folder_below_is_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a b.raw").write_bytes(bytes(range(8)))
    path, name = tmp_path / f"a{suffix}", "data/a b.raw"
    path.write_text(f"{META}ElementDataFile = {name}\n" if suffix == ".mhd" else f"{NRRD}data file: {name}\n")
    np.testing.assert_array_equal(read_volume(path).voxels, np.arange(8).reshape(2, 2, 2).T)


def test_headers_that_claim_too_much_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text(NRRD.replace("2 2 2", "30000 30000 30000") + "\n")
    (tmp_path / "a.mha").write_text(META.replace("2 2 2", "30000 30000 30000") + "ElementDataFile = LOCAL\n")
    for name in ("a.nrrd", "a.mha"):
        refused(tmp_path / name, "values are the most")


def test_negative_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_text(META.replace("2 2 2", "-2 2 2") + "ElementDataFile = LOCAL\n")
    refused(tmp_path / "a.mha", "has -2x2x2 voxels")
