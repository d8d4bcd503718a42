"""Which backend ``auto`` takes: measured once, kept, measured anew when asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from structured_bundles import structured_bundle

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.inference import fastest, network
from delineate.pipelines.inference.backends.runner import Runner
from delineate.pipelines.inference.segmenter import Segmenter
from delineate.pipelines.inference.tune import tune_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return structured_bundle(tmp_path_factory.mktemp("bundles") / "chest", exclusive=False)


@pytest.fixture(autouse=True)
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A cache of one's own, and what is measured there."""
    times = {"torch": 10.0, "onnxruntime": 9.6, "openvino": 4.0}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fastest, "_measure", lambda calls, _: {name: times[name] for name in calls})
    monkeypatch.setattr(fastest, "find_spec", lambda _: object())
    for module in (fastest, network):
        monkeypatch.setattr(module, "run_by", lambda name, *_: Runner(lambda pixels: [pixels], f"{name} 1 float32"))
    return times


def test_the_fastest_is_taken(bundle: Path) -> None:
    found = tune_bundle(bundle)
    assert found.backend == "openvino"
    assert found.reason == "an image takes openvino 4.0 ms, onnxruntime 9.6 ms, torch 10.0 ms here"


def test_torch_stays_where_another_is_hardly_faster(bundle: Path, measured: dict[str, float]) -> None:
    measured["openvino"] = 9.9
    assert tune_bundle(bundle).backend == "torch"


def test_one_that_fails_is_left_out_with_its_reason(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_by(name: str, *_: Any) -> Any:
        raise DelineateError(f"{name} is broken")

    monkeypatch.setattr(fastest, "run_by", run_by)
    found = tune_bundle(bundle)
    assert found.backend == "torch"
    assert found.left_out["openvino"] == "openvino is broken"
    assert "whose owner allows it" in found.left_out["openvino-int8"]


def test_auto_measures_once_and_says_why(
    bundle: Path, measured: dict[str, float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measured["onnxruntime"] = measured["openvino"] = 99.0
    with caplog.at_level("INFO"):
        assert Segmenter(bundle, backend="auto", device="cpu").facts["backend"].startswith("torch ")
    assert "backend torch: an image takes torch 10.0 ms" in caplog.text
    monkeypatch.setattr(fastest, "_measure", lambda *_: pytest.fail("measured again"))
    assert Segmenter(bundle, backend="auto", device="cpu").facts["backend"].startswith("torch ")


def test_tune_measures_anew(bundle: Path, measured: dict[str, float]) -> None:
    tune_bundle(bundle)
    measured["openvino"] = 99.0
    assert tune_bundle(bundle).backend == "torch"


def test_other_threads_and_precisions_are_measured_apart(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {tune_bundle(bundle).path, tune_bundle(bundle, precision="float32").path}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert len(paths | {tune_bundle(bundle).path}) == 3


def test_what_is_kept_and_cannot_be_read_is_measured_again(bundle: Path) -> None:
    path = tune_bundle(bundle).path
    assert json.loads(path.read_text())["threads"] == torch.get_num_threads()
    path.write_text("{}")
    assert Segmenter(bundle, backend="auto", device="cpu").network.computed_by == "openvino 1 float32"
