"""Every shipped bundle has the same masks from each backend, on at least 99.99 % of the pixels."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backends import OTHERS, with_graph
from backends import graph_cache as graph_cache
from backends import onnx_operators as onnx_operators
from PIL import Image
from shared_data import SHARED

from delineate.networks import create_network
from delineate.pipelines.bundling.bundles import change_bundle, has_weights, part_file, shipped_bundles
from delineate.pipelines.bundling.gate import admit
from delineate.pipelines.bundling.settings import workflow_config
from delineate.pipelines.core.sums import write_sums
from delineate.pipelines.inference.runtime.segmenter import GraphSegmenter
from delineate.pipelines.inference.segmenter import Segmenter
from delineate.pipelines.phantoms.images import write_phantoms

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("graph_cache")]
SHIPPED = sorted(shipped_bundles())
PHOTOS = {
    "skin_lesion": "ISIC2018/ISIC2018_Task1-2_Training_Input/*.jpg",
    "polyp": "Kvasir-SEG/images/*.jpg",
    "breast_lesion": "Dataset_BUSI_with_GT/benign/*).png",
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Those without weights get a lighter network with the weights that chance gives, sure of half of the pixels."""
    found: dict[str, Any] = {}
    for name, shipped in shipped_bundles().items():
        found[name] = admit(name)
        if not has_weights(shipped):
            folder = tmp_path_factory.mktemp("bundles") / name
            shutil.copytree(shipped, folder)
            found[name] = _with_made_weights(folder)
    return found


def _with_made_weights(folder: Path) -> Path:
    features = [16, 16, 32]
    change_bundle(folder, {"network_def::features": features}, [part_file("networks", "ultra_light_unet")])
    config = workflow_config(folder, "inference")
    torch.manual_seed(0)
    channels = {name: config[name] for name in ("in_channels", "out_channels")}
    network = create_network("ultra_light_unet", features=features, **channels).eval()
    with torch.no_grad():
        logits = network(torch.rand(1, config["in_channels"], 96, 96))
        *_, weight, bias = network.parameters()
        scale = 2 / logits.std((0, 2, 3))
        weight *= scale[:, None, None, None]
        bias.copy_((bias - logits.mean((0, 2, 3))) * scale)
    (folder / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    write_sums(folder / "models", ["model.pt"])
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Images for bundles of which there are no real ones here: phantoms and noise."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, 2)
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((folder / "images").iterdir())]
    return [*pictures, np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)]


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("backend", OTHERS)
def test_masks_are_those_of_torch(bundles: dict[str, Any], drawn: list[Any], name: str, backend: str) -> None:
    images = [*sorted(SHARED.glob(PHOTOS[name]))[:4], *drawn] if name in PHOTOS else drawn
    settings = {"device": "cpu", "precision": "float32"}
    found, expected = (
        list(Segmenter(bundles[name], backend=each, **settings).segment(images)) for each in (backend, "torch")
    )
    alike = np.concatenate(
        [
            one.masks[key].ravel() == other.masks[key].ravel()
            for one, other in zip(found, expected, strict=True)
            for key in other.masks
        ]
    )
    assert alike.mean() >= 0.9999
    assert [one.familiar for one in found] == [other.familiar for other in expected]


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
@pytest.mark.parametrize("name", SHIPPED)
def test_without_torch_masks_are_those_of_onnxruntime(
    bundles: dict[str, Any], drawn: list[Any], name: str, tmp_path: Path
) -> None:
    images = [*sorted(SHARED.glob(PHOTOS[name]))[:4], *drawn] if name in PHOTOS else drawn
    folder = with_graph(bundles[name], tmp_path / name)
    expected = list(Segmenter(folder, backend="onnxruntime", device="cpu").segment(images))
    found = list(GraphSegmenter(folder).segment(images))
    for one, other in zip(found, expected, strict=True):
        assert all(np.array_equal(one.masks[key], mask) for key, mask in other.masks.items())
        assert one.feature_distance == other.feature_distance
