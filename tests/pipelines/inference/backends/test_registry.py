"""Each backend answers as the network itself does, and says so."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backends import OTHERS
from backends import graph_cache as graph_cache
from backends import onnx_operators as onnx_operators
from familiar_bundles import noise, page, teach
from structured_bundles import structured_bundle
from typer.testing import CliRunner

from delineate.pipelines.bundling.settings import BACKENDS
from delineate.pipelines.cli import app
from delineate.pipelines.core.errors import DelineateError, UnknownNameError
from delineate.pipelines.inference.backends import MODULES, runner
from delineate.pipelines.inference.backends.runner import Runner
from delineate.pipelines.inference.network import load_network
from delineate.pipelines.inference.segmenter import Segmenter

pytestmark = pytest.mark.usefixtures("graph_cache")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(structured_bundle(tmp_path_factory.mktemp("bundles") / "chest", exclusive=False))


def segmenter(bundle: Path, backend: str | None, **settings: Any) -> Segmenter:
    return Segmenter(bundle, backend=backend, device="cpu", **{"precision": "float32", **settings})


def test_each_name_has_a_module() -> None:
    assert sorted(BACKENDS) == sorted(["auto", "torch", *MODULES])


@pytest.mark.parametrize("backend", OTHERS)
def test_logits_are_those_of_the_network(bundle: Path, backend: str) -> None:
    found, expected = (segmenter(bundle, name).network for name in (backend, "torch"))
    for batch in (1, 4, 2):
        image = torch.rand((batch, 1, 32, 32), generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            torch.testing.assert_close(found(image), expected(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backend", OTHERS)
def test_images_of_another_size_than_the_window_are_refused(bundle: Path, backend: str) -> None:
    with pytest.raises(DelineateError, match="is given 32x48 pixels, and the bundle's setting window says 32x32; set"):
        segmenter(bundle, backend).network(torch.zeros(1, 1, 32, 48))


@pytest.mark.parametrize("tta", [None, "flips"])
@pytest.mark.parametrize("backend", OTHERS)
def test_masks_and_what_is_familiar_are_those_of_torch(bundle: Path, backend: str, tta: str | None) -> None:
    images = [noise(), page(), noise()[:23]]
    found, expected = (list(segmenter(bundle, name, tta=tta).segment(images)) for name in (backend, "torch"))
    for one, other in zip(found, expected, strict=True):
        alike = [np.mean(one.masks[name] == other.masks[name]) for name in other.masks]
        assert min(alike) >= 0.9999
        assert one.feature_distance == pytest.approx(other.feature_distance, rel=1e-3)
    assert [one.familiar for one in found] == [one.familiar for one in expected]
    assert not found[1].familiar


@pytest.mark.parametrize("backend", OTHERS)
def test_several_windows_are_put_together_alike(bundle: Path, backend: str) -> None:
    image = noise()
    found, expected = (
        next(segmenter(bundle, name, image_size=[80, 64], window=[32, 32]).segment([image]))
        for name in (backend, "torch")
    )
    assert np.mean(found.masks["heart"] == expected.masks["heart"]) >= 0.9999
    assert found.feature_distance == pytest.approx(expected.feature_distance, rel=1e-3)


@pytest.mark.parametrize("backend", OTHERS)
def test_a_bundle_of_before_takes_them_too(bundle: Path, backend: str, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(bundle, older)
    added = ("backend", "precision", "in_channels", "window")
    for name in ("inference", "evaluate"):
        path = older / "configs" / f"{name}.yaml"
        text = path.read_text().replace("inference.load_network", "bundling.load_weights")
        text = text.replace("".join(f'  {key}: "@{key}"\n' for key in added), "")
        path.write_text(re.sub("backend: torch.*\n", "", text))
    assert segmenter(older, backend).facts["backend"].startswith(backend)
    assert segmenter(older, None).facts["backend"].startswith("torch ")
    assert segmenter(older, "torch").facts["backend"].startswith("torch ")


@pytest.mark.parametrize("backend", ["torch", *OTHERS])
def test_the_table_and_objects_say_what_computed(bundle: Path, backend: str, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(noise()).save(tmp_path / "a.png")
    words = ["segment", str(bundle), str(tmp_path / "a.png"), "--out", str(tmp_path / "masks")]
    result = CliRunner().invoke(app, [*words, "--backend", backend, "--set", "precision=float32"])
    assert result.exit_code == 0, result.output
    assert f"--backend {backend}" in result.output  # the line for stock MONAI
    (row, *_) = csv.DictReader((tmp_path / "masks" / "results.csv").open(encoding="utf-8-sig"))
    assert re.fullmatch(rf"{backend} [\d.]+ float32", row["backend"])
    assert segmenter(bundle, backend).model.parameters()["computed by"] == row["backend"]


def test_another_backend_is_answered_with_those_there_are(bundle: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'torch'"):
        Segmenter(bundle, backend="tosch")


@pytest.mark.parametrize("backend", OTHERS)
def test_another_device_is_refused(bundle: Path, backend: str) -> None:
    with pytest.raises(DelineateError, match=r"computes on the CPU, and device is 'cuda'; set device=cpu"):
        load_network(torch.nn.Identity(), bundle, "cuda", backend)


@pytest.mark.parametrize("backend", sorted(MODULES))
def test_a_package_that_is_missing_is_named_before_anything_is_exported(
    bundle: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, MODULES[backend], None)
    monkeypatch.setattr(runner, "graph_of", lambda *_, **__: pytest.fail("it was exported"))
    missing = rf"{MODULES[backend]} is not installed; pip install .*\[\w+\]\", or take the backend torch"
    with pytest.raises(DelineateError, match=missing):
        segmenter(bundle, backend)


def test_onnxruntime_has_no_bfloat16(bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(DelineateError, match="onnxruntime computes in float32"):
        segmenter(bundle, "onnxruntime", precision="bfloat16")


def test_a_graph_without_features_tells_nothing_of_what_is_familiar(bundle: Path) -> None:
    whole = segmenter(bundle, "torch")
    known, network = whole.network.familiarity, whole.network

    def logits_alone(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [network(torch.from_numpy(pixels)).numpy()]

    whole.network = Runner(logits_alone, "made 1 float32", known)
    assert next(whole.segment([noise()])).familiar is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHERS)
def test_scores_are_those_of_torch_and_say_what_computed(
    phantom_run: Path, phantom_data: Path, backend: str, tmp_path: Path
) -> None:
    from delineate.pipelines.evaluation.workflow import evaluate

    settings = {"device": "cpu", "precision": "float32", "page": False}
    found, expected = (
        evaluate(phantom_run, phantom_data, tmp_path / name, backend=name, settings=settings)
        for name in (backend, "torch")
    )
    assert found["mean_dice"]["value"] == pytest.approx(expected["mean_dice"]["value"], abs=1e-3)
    told = json.loads((tmp_path / backend / "metrics.json").read_text())["backend"]
    assert re.fullmatch(rf"{backend} [\d.]+ float32", told)
