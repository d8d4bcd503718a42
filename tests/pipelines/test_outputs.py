from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from delineate.pipelines.outputs import Segmentation, write_segmentation

RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 2, (20, 33), dtype=np.uint8)
PROBABILITY = RNG.random((20, 33), dtype=np.float32)


@pytest.fixture
def result(tmp_path: Path) -> Segmentation:
    source = tmp_path / "photo.png"
    Image.fromarray(RNG.integers(0, 256, (20, 33, 3), dtype=np.uint8)).save(source)
    return Segmentation(str(source), "photo", MASK, PROBABILITY)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_a_mask_comes_back_as_it_was_as_0_and_255(tmp_path: Path, result: Segmentation) -> None:
    path = write_segmentation(result, tmp_path / "out")
    assert path == tmp_path / "out/photo_mask.png"
    assert read(path).dtype == np.uint8
    assert np.array_equal(read(path), MASK * 255)


def test_only_the_mask_is_written_unless_asked(tmp_path: Path, result: Segmentation) -> None:
    write_segmentation(result, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["photo_mask.png"]


def test_probabilities_have_16_bits(tmp_path: Path, result: Segmentation) -> None:
    write_segmentation(result, tmp_path / "out", probability=True)
    stored = read(tmp_path / "out/photo_probability.png")
    assert stored.max() > 255
    np.testing.assert_allclose(stored / 65535, PROBABILITY, atol=0.5 / 65535 + 1e-7)


def test_the_ends_of_probability_are_exact(tmp_path: Path, result: Segmentation) -> None:
    ends = np.zeros((20, 33), np.float32)
    ends[0] = 1
    write_segmentation(Segmentation(result.source, "ends", MASK, ends), tmp_path, probability=True)
    assert np.unique(read(tmp_path / "ends_probability.png")).tolist() == [0, 65535]


def test_the_overlay_is_the_image_with_an_outline(tmp_path: Path, result: Segmentation) -> None:
    mask = np.zeros((20, 33), np.uint8)
    mask[5:15, 8:25] = 1
    write_segmentation(Segmentation(result.source, "photo", mask, PROBABILITY), tmp_path / "out", overlay=True)
    overlay, photo = read(tmp_path / "out/photo_overlay.png"), read(Path(result.source))
    assert overlay.shape == photo.shape
    assert not np.array_equal(overlay, photo)
    assert np.array_equal(overlay[:2], photo[:2])


@pytest.mark.parametrize("name", ["patient 1/left/photo", "a.b", "photo[1]", "photo.jpg", "Lésion"])
def test_folders_and_odd_names_are_kept(tmp_path: Path, result: Segmentation, name: str) -> None:
    path = write_segmentation(
        Segmentation(result.source, name, MASK, PROBABILITY), tmp_path / "out", overlay=True, probability=True
    )
    assert path == tmp_path / f"out/{name}_mask.png"
    assert len(list(path.parent.iterdir())) == 3


def output(**more: Any) -> dict[str, Any]:
    image = MetaTensor(torch.zeros(3, 8, 8), meta={"filename_or_obj": "folder/photo.x.png"})
    pred, probability = torch.tensor(MASK, dtype=torch.float32)[None], torch.tensor(PROBABILITY)[None]
    return {"image": image, "pred": MetaTensor(pred), "probability": MetaTensor(probability), **more}


def test_an_output_becomes_a_result() -> None:
    result = Segmentation.from_output(output(name="sub/photo"))
    assert (result.source, result.name) == ("folder/photo.x.png", "sub/photo")
    assert (result.mask.dtype, result.probability.dtype) == (np.uint8, np.float32)
    assert np.array_equal(result.mask, MASK)
    assert np.array_equal(result.probability, PROBABILITY)


def test_an_output_without_a_name_is_called_after_its_file() -> None:
    assert Segmentation.from_output(output()).name == "photo.x"
