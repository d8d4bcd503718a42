"""MONAI Label 0.8.5 infers with a run: the steps of its ``monailabel/tasks/infer/bundle.py``, without its server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image
from structured_bundles import structured_bundle

from delineate.pipelines.inference.segmenter import Segmenter

if TYPE_CHECKING:
    from conftest import Place

pytestmark = pytest.mark.slow


def first_tensor(run: Path, side: str) -> str:
    """It takes the names of the first input and output from the metadata."""
    metadata = json.loads((run / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return str(next(iter(metadata["network_data_format"][side])))


def infer(run: Path, image: Path) -> np.ndarray[Any, Any]:
    """``BundleInferTask``: configuration, weights, transforms one by one, and what goes to its writer."""
    config = ConfigParser()
    config.read_config(str(run / "configs" / "inference.yaml"))
    config.config["bundle_root"] = str(run)
    network = config.get_parsed_content("network_def", instantiate=True)
    weights = sorted((run / "models").glob("*.pt"), key=lambda path: len(path.name))[0]  # it offers the shortest first
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network.load_state_dict(state.get("model", state), strict=False)  # so it would say nothing of keys that do not fit
    network.eval()
    data: dict[str, Any] = {"image": str(image)}
    for transform in config.get_parsed_content("preprocessing", instantiate=True).transforms:
        data = transform(data)
    with torch.no_grad():
        outputs = config.get_parsed_content("inferer", instantiate=True)(
            data[first_tensor(run, "inputs")][None], network
        )
    data[first_tensor(run, "outputs")] = outputs[0]
    for transform in config.get_parsed_content("postprocessing", instantiate=True).transforms:
        data = transform(data)
    assert list(data["pred"].shape[1:]) == list(data["image"].meta["spatial_shape"])  # else its Restored resizes
    return np.asarray(data["pred"].array)


def test_its_mask_is_ours(place: Place, dataset: Path) -> None:
    image = dataset.parent / "phantoms" / "images" / "phantom_0001.jpg"
    (ours,) = Segmenter(place.run).segment(image)
    (mask,) = infer(place.run, image)
    assert ours.mask.any()
    assert mask.dtype == np.uint8  # its writer of PNG takes no other numbers than integers
    assert np.array_equal(mask, ours.mask)


@pytest.mark.parametrize("exclusive", [False, True])
def test_of_several_structures_it_has_a_channel_each(tmp_path: Path, exclusive: bool) -> None:
    bundle = structured_bundle(tmp_path / "chest", exclusive)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)).save(tmp_path / "a.png")
    (ours,) = Segmenter(bundle).segment(tmp_path / "a.png")
    masks = infer(bundle, tmp_path / "a.png")
    assert masks.any()
    assert np.array_equal(masks, np.stack(list(ours.masks.values())))


def test_models_hold_no_file_that_it_could_take_for_the_weights(place: Place) -> None:
    assert [path.name for path in (place.run / "models").glob("*.pt")] == ["model.pt"]
