from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.unchanged import content_hash, refuse_changed


@pytest.mark.parametrize(("header", "data"), [("a.mhd", "a.raw"), ("a.nhdr", "a.raw")])
def test_a_volume_whose_voxels_lie_beside_its_header_has_changed_when_they_have(
    tmp_path: Path, header: str, data: str
) -> None:
    path = tmp_path / header
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((4, 5, 6), np.uint8)), str(path))
    before = content_hash(path)
    refuse_changed(path, before)
    voxels = bytearray((tmp_path / data).read_bytes())
    voxels[7] = 1
    (tmp_path / data).write_bytes(voxels)
    with pytest.raises(InputError, match=rf"{header}: changed since it was indexed; index again"):
        refuse_changed(path, before)


def test_a_series_has_changed_when_a_file_is_gone(tmp_path: Path) -> None:
    for name in ("1.dcm", "2.dcm"):
        (tmp_path / name).write_bytes(name.encode())
    before = content_hash(tmp_path)
    (tmp_path / "2.dcm").unlink()
    with pytest.raises(InputError, match="changed since it was indexed"):
        refuse_changed(tmp_path, before)


def test_the_name_of_a_folder_or_file_does_not_matter(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.dcm").write_bytes(b"equal")
    assert content_hash(tmp_path / "one") == content_hash(tmp_path / "two")
