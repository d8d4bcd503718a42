"""Each format that masks are written in, read by somebody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.imaging.volumes.itk import LPS
from delineate.pipelines.imaging.volumes.volume import Volume
from delineate.pipelines.imaging.writers import (
    IMAGE_FORMATS,
    VOLUME_FORMATS,
    ImageFormat,
    VolumeFormat,
    write_pixels,
    writer_of,
)

RNG = np.random.default_rng(0)
AFFINE = np.array([[0, -1.5, 0, 30], [0, 0, 2, -7], [3, 0, 0, 11], [0, 0, 0, 1.0]])
SHAPE = (4, 5, 6)
LABELS = RNG.integers(0, 4, SHAPE, dtype=np.uint8)
PROBABILITY = RNG.random(SHAPE, dtype=np.float32)

Read = Callable[[Path], tuple[np.ndarray, np.ndarray]]


def by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def by_simpleitk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS @ affine


READERS: dict[str, list[Read]] = {
    **{ending: [by_nibabel, by_simpleitk] for ending in ("nii", "nii.gz")},
    **{ending: [by_simpleitk] for ending in ("nrrd", "mha")},
}


@pytest.mark.parametrize("pixels", [LABELS, PROBABILITY], ids=["labels", "probabilities"])
@pytest.mark.parametrize("ending", VOLUME_FORMATS)
def test_another_reader_finds_the_values_where_they_lie(tmp_path: Path, ending: str, pixels: np.ndarray) -> None:
    path = write_pixels(tmp_path / f"x.{ending}", pixels, Volume(Path("made"), pixels, AFFINE))
    for read in READERS[ending]:
        values, affine = read(path)
        assert values.dtype == pixels.dtype
        np.testing.assert_array_equal(values, pixels)
        np.testing.assert_allclose(affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("ending", IMAGE_FORMATS)
def test_another_reader_finds_the_pixels_of_an_image(tmp_path: Path, ending: str) -> None:
    with Image.open(write_pixels(tmp_path / f"x.{ending}", LABELS[0])) as image:
        np.testing.assert_array_equal(np.asarray(image), LABELS[0])
    with Image.open(write_pixels(tmp_path / f"y.{ending}", PROBABILITY[0])) as image:
        np.testing.assert_allclose(np.asarray(image) / 65535, PROBABILITY[0], atol=1e-5)


@pytest.mark.parametrize("ending", {**IMAGE_FORMATS, **VOLUME_FORMATS})
def test_each_format_says_what_its_foreground_is(ending: str) -> None:
    foreground = writer_of(ending).FOREGROUND
    assert foreground == (255 if ending in IMAGE_FORMATS else 1)


def test_options_offer_what_there_is() -> None:
    assert list(VOLUME_FORMATS) == list(get_args(VolumeFormat))
    assert list(IMAGE_FORMATS) == list(get_args(ImageFormat))


@pytest.mark.parametrize("name", ["x.jpg", "x.nii.gz", "x"])
def test_an_image_is_not_written_as_what_it_is_not(tmp_path: Path, name: str) -> None:
    with pytest.raises(DelineateError, match=r"name it \.png"):
        write_pixels(tmp_path / name, LABELS[0])
