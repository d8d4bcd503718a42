"""A network in int8: kept where its masks are as good, refused with the figures, used when it is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends import graph_cache as graph_cache
from backends import onnx_operators as onnx_operators
from familiar_bundles import noise, teach
from PIL import Image
from structured_bundles import structured_bundle

from delineate.pipelines.bundling.exports import int8_export, name_export, named_exports
from delineate.pipelines.bundling.familiarity import read_familiarity
from delineate.pipelines.bundling.settings import backend_settings, workflow_config
from delineate.pipelines.bundling.verify import verify_bundle
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.export.int8 import export_int8
from delineate.pipelines.export.judged import Judged, Lost, _by_the_other_half
from delineate.pipelines.inference.fastest import _not_measured
from delineate.pipelines.inference.segmenter import Segmenter

DROPS = {"value": 0.001, "ci95": [-0.001, 0.003]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its masks are what it was asked for: images of it are labelled by itself."""
    return structured_bundle(
        tmp_path_factory.mktemp("bundles") / "one", exclusive=False, structures=[{"name": "lesion"}]
    )


@pytest.fixture(scope="module")
def data(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "source" / "images").mkdir(parents=True)
    (folder / "source" / "masks").mkdir()
    segmenter = Segmenter(bundle, backend="torch", device="cpu", precision="float32")
    for number in range(40):
        pixels = noise()
        (result,) = segmenter.segment([pixels])
        Image.fromarray(pixels).save(folder / "source" / "images" / f"{number:02}.png")
        Image.fromarray(result.mask * 255).save(folder / "source" / "masks" / f"{number:02}.png")
    index_dataset(folder / "source", out=folder / "dataset")
    return folder / "dataset"


def judged(**changes: Any) -> Judged:
    return Judged(
        **{"float32": 0.9, "int8": 0.899, "drop": DROPS, "images": 40, "lost": [], "thresholds": [0.5]} | changes
    )


@pytest.mark.parametrize("drop", [DROPS, {"value": 0.005, "ci95": [-0.002, 0.02]}])
def test_a_small_drop_is_let_pass(drop: Any) -> None:
    judged(drop=drop).refuse_worse()


@pytest.mark.parametrize(
    "drop",
    [
        {"value": 0.0051, "ci95": [-0.005, 0.015]},
        {"value": 0.0, "ci95": None},
    ],
)
def test_a_larger_one_or_one_that_cannot_be_told_is_refused(drop: Any) -> None:
    lost = [Lost("a.png", "1f", 0.9, 0.7)]
    with pytest.raises(
        DelineateError, match=r"drops from 0\.9000 to 0\.8990.*is lost by 1 image.*a\.png 0\.90 to 0\.70"
    ):
        judged(drop=drop, lost=lost).refuse_worse()


def test_no_image_is_judged_at_a_threshold_that_it_helped_to_fit() -> None:
    groups = ["a", "a", "b", "b"]
    scores = np.array([[0.1, 0.5, 0.9], [0.1, 0.5, 0.9], [0.8, 0.5, 0.2], [0.8, 0.5, 0.2]])[
        :, None
    ]  # a: last, b: first
    unknown = np.full_like(scores, np.nan)
    judged_at = _by_the_other_half(np.concatenate([scores, unknown], 1), groups)
    np.testing.assert_array_equal(judged_at[:, 0], [0.1, 0.1, 0.2, 0.2])
    assert np.isnan(judged_at[:, 1]).all()
    assert _by_the_other_half(scores, ["a"] * 4)[:, 0].tolist() == [0.5] * 4, "the middle one, where there is no half"


@pytest.mark.slow
@pytest.mark.usefixtures("graph_cache")
def test_it_is_kept_verified_and_used_with_its_threshold(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(Judged, "refuse_worse", lambda self: None)  # chance draws masks that depend on a hair
    shutil.copytree(bundle, tmp_path / "b")
    known = Segmenter(teach(tmp_path / "b")).network.familiarity
    done = export_int8(tmp_path / "b", data, calibrate=8)
    assert done.judged.float32 > 0.999
    assert done.judged.int8 > 0.8
    assert verify_bundle(tmp_path / "b") == []
    told = int8_export(tmp_path / "b" / "models", "model.int8.onnx")
    assert told
    assert told["threshold"] == done.thresholds
    segmenter = Segmenter(tmp_path / "b", backend="onnxruntime-int8", device="cpu")
    assert segmenter.facts["backend"].endswith(" int8")
    assert segmenter.thresholds == done.thresholds
    (learnt,) = read_familiarity(tmp_path / "b" / "models", name="familiarity.model.int8.onnx.json")
    assert segmenter.network.familiarity[0].limit == learnt.limit != known[0].limit
    assert Segmenter(tmp_path / "b", backend="onnxruntime-int8", device="cpu", threshold=0.3).thresholds == {
        "lesion": 0.3
    }
    (result,) = segmenter.segment([noise()])
    assert 0 < np.mean(result.mask) < 1


@pytest.fixture
def with_int8(bundle: Path, tmp_path: Path) -> Path:
    """A bundle with a file that is said to be such a graph."""
    shutil.copytree(bundle, tmp_path / "b")
    models = tmp_path / "b" / "models"
    from delineate.pipelines.core.sums import write_sums

    (models / "model.int8.onnx").write_bytes(b"a graph")
    write_sums(models, ["model.pt", "model.int8.onnx"])
    name_export(models, "model.int8.onnx", {"precision": "int8", "auto": False, "threshold": {"lesion": 0.45}})
    return tmp_path / "b"


def test_its_threshold_goes_with_it_unless_another_is_chosen(with_int8: Path) -> None:
    config = workflow_config(with_int8, "inference")
    own = {"backend": "onnxruntime-int8"}
    assert backend_settings(with_int8, config, "onnxruntime-int8") == {**own, "threshold": {"lesion": 0.45}}
    assert backend_settings(with_int8, config, "onnxruntime-int8", ["threshold"]) == own
    assert backend_settings(with_int8, {**config, **own}, None) == {"threshold": {"lesion": 0.45}}
    assert backend_settings(with_int8, config, "onnxruntime") == {"backend": "onnxruntime"}


def test_one_of_other_weights_or_another_hash_is_not_used(with_int8: Path) -> None:
    models = with_int8 / "models"
    assert int8_export(models, "model.int8.onnx")
    (models / "model.int8.onnx").write_bytes(b"another graph")
    assert int8_export(models, "model.int8.onnx") is None
    (models / "model.int8.onnx").write_bytes(b"a graph")
    (models / "model.pt").write_bytes(b"other weights")
    assert int8_export(models, "model.int8.onnx") is None


def test_without_one_the_backend_says_how_to_make_it(bundle: Path) -> None:
    with pytest.raises(
        DelineateError, match=r"no int8 graph.*delineate export RUN --format onnx --int8 --data DATASET"
    ):
        Segmenter(bundle, backend="onnxruntime-int8", device="cpu")


def test_auto_takes_it_only_where_its_owner_allows_it(with_int8: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert "whose owner allows it" in _not_measured("onnxruntime-int8", with_int8)
    facts = named_exports(with_int8 / "models")["model.int8.onnx"]
    name_export(with_int8 / "models", "model.int8.onnx", {**facts, "auto": True})
    assert _not_measured("onnxruntime-int8", with_int8) == ""
