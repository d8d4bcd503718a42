from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from delineate.pipelines.imaging.volumes.volume import Volume
from delineate.pipelines.imaging.writers import IMAGE_FORMATS, VOLUME_FORMATS, write_pixels
from delineate.pipelines.imaging.writers.mark import is_as_drawn, mark_of, read_mark

ENDINGS = [*IMAGE_FORMATS, *VOLUME_FORMATS]


def written(folder: Path, ending: str, dtype: str = "uint8") -> tuple[Path, np.ndarray]:
    shape = (5, 7) if ending in IMAGE_FORMATS else (4, 5, 6)
    pixels = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    like = None if ending in IMAGE_FORMATS else Volume(Path("made"), pixels, np.diag([2.0, 1, 3, 1]))
    return write_pixels(folder / f"x.{ending}", pixels, like), pixels


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_format_keeps_the_mark_of_its_pixels(tmp_path: Path, ending: str) -> None:
    path, pixels = written(tmp_path, ending)
    assert read_mark(path) == mark_of(pixels)
    assert is_as_drawn(path, mark_of(pixels))
    assert not is_as_drawn(path, mark_of(1 - pixels))


@pytest.mark.parametrize("ending", ENDINGS)
def test_probabilities_have_none(tmp_path: Path, ending: str) -> None:
    assert read_mark(written(tmp_path, ending, "float32")[0]) is None


def test_an_image_saved_by_others_has_none(tmp_path: Path) -> None:
    path, _ = written(tmp_path, "png")
    Image.fromarray(np.asarray(Image.open(path))).save(tmp_path / "again.png")
    assert read_mark(tmp_path / "again.png") is None


@pytest.mark.parametrize("name", ["x.png", "x.nii.gz", "x.jpg", "missing.png"])
def test_what_cannot_be_read_has_none(tmp_path: Path, name: str) -> None:
    for damaged in ("x.png", "x.nii.gz", "x.jpg"):
        (tmp_path / damaged).write_bytes(b"\x1f\x8b damaged")
    assert read_mark(tmp_path / name) is None


def test_of_a_damaged_file_nothing_is_as_it_was_drawn(tmp_path: Path) -> None:
    path, pixels = written(tmp_path, "png")
    path.write_bytes(path.read_bytes()[:-30])
    assert not is_as_drawn(path, mark_of(pixels))
