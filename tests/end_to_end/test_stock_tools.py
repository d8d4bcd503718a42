"""A bundle works with nothing but MONAI's own tools, in a copy of its folder anywhere, offline."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from processes import call, delineate, stock, succeeded

from delineate.networks import UltraLightUNet
from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.imaging.masks import read_mask
from delineate.pipelines.imaging.pictures import read_image
from delineate.pipelines.inference.segmenter import Segmenter
from delineate.pipelines.phantoms.chest import STRUCTURES, write_chest_phantoms

if TYPE_CHECKING:
    from conftest import Place

pytestmark = pytest.mark.slow

META = ("--meta_file", "configs/metadata.json")
INFERENCE = ("--config_file", "configs/inference.yaml")
CONVERTED = ("--ckpt_file", "models/model.pt", *META, *INFERENCE)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def logits(place: Place, image: torch.Tensor) -> Any:
    network = UltraLightUNet(spatial_dims=2, in_channels=3, out_channels=1)
    network.load_state_dict(torch.load(place.run / "models" / "model.pt", weights_only=True))
    with torch.no_grad():
        return network.eval()(image).numpy()


def test_the_network_is_blocked() -> None:
    """Else no test here would show that bundles work offline."""
    code = "import urllib.request; urllib.request.urlopen('http://example.com', timeout=5)"
    assert "Connection refused" in call("python", "-c", code).stderr


def test_verify_metadata_accepts_a_run_by_the_schema_that_it_carries(elsewhere: Path) -> None:
    schema = "docs/meta_schema_20240725.json"
    assert schema in (elsewhere / "docs" / "README.md").read_text()
    done = succeeded(stock("verify_metadata", *META, "--filepath", schema, cwd=elsewhere))
    assert "metadata is verified with no error" in done.stdout + done.stderr


def test_verify_net_in_out_accepts_a_run(elsewhere: Path) -> None:
    done = succeeded(stock("verify_net_in_out", "network_def", *META, *INFERENCE, cwd=elsewhere))
    assert "data shape of network is verified with no error" in done.stdout + done.stderr


def test_ckpt_export_writes_torchscript_with_the_same_output(elsewhere: Path, image: torch.Tensor, logits: Any) -> None:
    succeeded(stock("ckpt_export", "network_def", "--filepath", "models/model.ts", *CONVERTED, cwd=elsewhere))
    code = (
        "import sys, torch; network = torch.jit.load(sys.argv[1]).eval(); "
        "torch.save(network(torch.load(sys.argv[2])), sys.argv[3])"
    )
    torch.save(image, elsewhere / "image.pt")
    with torch.no_grad():
        succeeded(call("python", "-c", code, "models/model.ts", "image.pt", "logits.pt", cwd=elsewhere))
    exported = torch.load(elsewhere / "logits.pt").detach().numpy()
    assert np.abs(exported - logits).max() < 1e-4


def test_an_export_beside_the_weights_does_not_shut_them_out(elsewhere: Path, dataset: Path) -> None:
    (elsewhere / "models" / "model.onnx").write_bytes(b"of another hand, and not what is loaded")
    assert list(Segmenter(elsewhere).segment(dataset.parent / "phantoms" / "images" / "phantom_0001.jpg"))


def test_onnx_export_writes_a_model_with_the_same_output(elsewhere: Path, image: torch.Tensor, logits: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    succeeded(stock("onnx_export", "network_def", "--filepath", "models/model.onnx", *CONVERTED, cwd=elsewhere))
    session = onnxruntime.InferenceSession(elsewhere / "models" / "model.onnx")
    (exported,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert np.abs(exported - logits).max() < 1e-4


def test_train_evaluate_and_inference_work_in_the_bundles_own_folder(
    place: Place, dataset: Path, untrained: Path
) -> None:
    words = ("--dataset_dir", place.dataset)
    succeeded(stock("run", "--config_file", "configs/train.yaml", *words, "--max_epochs", "1", cwd=untrained))
    assert (untrained / "models" / "model.pt").is_file()
    succeeded(stock("run", "--config_file", "configs/evaluate.yaml", *words, cwd=untrained))
    assert json.loads((untrained / "evaluation" / "metrics.json").read_text())["count"] == 3
    images = dataset.parent / "phantoms" / "images"
    one = images / "phantom_0001.jpg"
    succeeded(stock("run", *INFERENCE, "--dataset_dir", one, cwd=untrained))
    assert read_mask(untrained / "masks" / "phantom_0001_mask.png").shape == read_image(one, "rgb").shape[:2]
    assert "passes" in succeeded(delineate("bundle", "verify", ".", cwd=untrained)).stdout


def test_overlays_of_loss_and_network_are_taken_by_stock_monai(place: Place, untrained: Path) -> None:
    small = untrained / "small.yaml"
    with as_file(files("delineate.configs")) as parts:
        text = (parts / "networks" / "unet.yaml").read_text()
        small.write_text(text.replace("[64, 128, 256, 512, 1024]", "[4, 8, 16, 32, 64]"))
        configs = f"['configs/train.yaml','{parts / 'losses' / 'bce.yaml'}','{small}']"
        options = ("--dataset_dir", place.dataset, "--max_epochs", "1")
        succeeded(stock("run", "--config_file", configs, *options, cwd=untrained))
    state = torch.load(untrained / "models" / "model.pt", weights_only=True)
    assert 100_000 < sum(tensor.numel() for tensor in state.values()) < 150_000
    dice_and_bce, bce = (run / "logs" / "history.csv" for run in (place.run, untrained))
    assert first_loss(bce) < first_loss(dice_and_bce) - 0.2


def first_loss(history: Path) -> float:
    with history.open(newline="") as file:
        return float(next(csv.DictReader(file))["loss"])


def test_a_shipped_bundle_trains_where_its_folder_was_copied_to(place: Place, tmp_path: Path) -> None:
    with as_file(files("delineate.bundles") / "breast_lesion") as bundle:
        shutil.copytree(bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns("models", "logs", "cache"))
    options = ("--dataset_dir", place.dataset, "--max_epochs", "1", "--image_size", "[64,64]")
    succeeded(stock("run", "--config_file", "configs/train.yaml", *options, cwd=tmp_path / "bundle"))
    assert (tmp_path / "bundle" / "models" / "model.pt").is_file()


def test_the_shipped_bundle_of_several_structures_trains_evaluates_and_segments(tmp_path: Path) -> None:
    films, dataset, bundle = (tmp_path / name for name in ("films", "dataset", "bundle"))
    write_chest_phantoms(films, 10, side=64)
    index_dataset(films, out=dataset, near_duplicates=False)
    with as_file(files("delineate.bundles") / "chest_xray") as shipped:
        shutil.copytree(shipped, bundle)
    small = ("--image_size", "[64,64]")
    words = ("--dataset_dir", dataset, *small)
    succeeded(stock("run", "--config_file", "configs/train.yaml", *words, "--max_epochs", "1", cwd=bundle))
    succeeded(stock("run", "--config_file", "configs/evaluate.yaml", *words, "--page", "False", cwd=bundle))
    scores = json.loads((bundle / "evaluation" / "metrics.json").read_text())
    assert list(scores["structures"]) == list(STRUCTURES)
    succeeded(stock("run", *INFERENCE, "--dataset_dir", films / "images" / "phantom_0001.png", *small, cwd=bundle))
    masks = {path.name for path in (bundle / "masks").glob("*.png")}
    assert masks == {f"phantom_0001_{name.replace(' ', '_')}_mask.png" for name in STRUCTURES}


@pytest.mark.parametrize("name", shipped_bundles())
def test_verify_net_in_out_and_verify_metadata_accept_every_shipped_bundle(name: str) -> None:
    bundle = shipped_bundles()[name]
    succeeded(stock("verify_metadata", *META, "--filepath", "docs/meta_schema_20240725.json", cwd=bundle))
    succeeded(stock("verify_net_in_out", "network_def", *META, *INFERENCE, cwd=bundle))
