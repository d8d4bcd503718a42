"""The graph that another runtime reads: where it is found, when it is written, when it is not used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from structured_bundles import structured_bundle

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.sums import write_sums
from delineate.pipelines.inference.backends import graphs
from delineate.pipelines.inference.backends.graphs import graph_of, made_image, refuse_other_logits
from delineate.pipelines.inference.backends.runner import run_by

SHAPE = (1, 1, 32, 32)
NAMES = ("model.onnx",)
NETWORK = torch.nn.Identity()


@pytest.fixture(scope="module")
def known_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return structured_bundle(tmp_path_factory.mktemp("bundles") / "chest", exclusive=True)


@pytest.fixture
def bundle(known_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a cache of its own, where graphs are written in no time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(graphs, "write_onnx", lambda *words: words[-1].write_bytes(b"a graph"))
    shutil.copytree(known_bundle, tmp_path / "b")
    return tmp_path / "b"


def test_the_bundles_own_is_taken(bundle: Path) -> None:
    (bundle / "models" / "model.onnx").write_bytes(b"exported")
    write_sums(bundle / "models", ["model.pt", "model.onnx"])
    assert graph_of(NETWORK, bundle, SHAPE, NAMES) == bundle / "models" / "model.onnx"


def test_one_of_another_hash_is_not(bundle: Path) -> None:
    (bundle / "models" / "model.onnx").write_bytes(b"exported")
    assert graph_of(NETWORK, bundle, SHAPE, NAMES).parent == bundle.parent / "cache" / "delineate" / "graphs"


def test_it_is_written_once_outside_of_the_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(bundle.rglob("*"))
    path = graph_of(NETWORK, bundle, SHAPE, NAMES)
    monkeypatch.setattr(graphs, "write_onnx", lambda *_: pytest.fail("written again"))
    assert graph_of(NETWORK, bundle, SHAPE, NAMES) == path
    assert sorted(bundle.rglob("*")) == before


def test_other_weights_another_network_or_size_have_one_of_their_own(bundle: Path) -> None:
    first = graph_of(NETWORK, bundle, SHAPE, NAMES)
    paths = {first, graph_of(NETWORK, bundle, (1, 1, 32, 64), NAMES)}
    config = bundle / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("spatial_dims: 2", "spatial_dims: 2\n  dropout: 0.1"))
    paths.add(graph_of(NETWORK, bundle, SHAPE, NAMES))
    with (bundle / "models" / "model.pt").open("ab") as weights:
        weights.write(b"other")
    assert len(paths | {graph_of(NETWORK, bundle, SHAPE, NAMES)}) == 4


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is read-only to root")
def test_a_cache_that_cannot_be_written_is_answered_with_what_to_do(bundle: Path) -> None:
    (bundle.parent / "cache").mkdir(mode=0o500)
    with pytest.raises(DelineateError, match=r"cannot be kept in .*; export it into the bundle with 'delineate"):
        graph_of(NETWORK, bundle, SHAPE, NAMES)


def test_a_cache_that_is_no_folder_is_answered_with_what_to_do(bundle: Path) -> None:
    (bundle.parent / "cache").write_text("a file")
    with pytest.raises(DelineateError, match=r"cannot be kept in .*; export it into the bundle with 'delineate"):
        graph_of(NETWORK, bundle, SHAPE, NAMES)


def test_other_logits_are_refused_and_the_cache_loses_them(bundle: Path) -> None:
    path = graph_of(NETWORK, bundle, SHAPE, NAMES)
    with pytest.raises(DelineateError, match=r"made 1 float32 differs from torch by up to 0\.01 of a logit at"):
        refuse_other_logits(lambda pixels: [pixels + 0.01], NETWORK, made_image(SHAPE), path, "made 1 float32")
    assert not path.exists()


def test_those_of_bfloat16_may_differ_more(bundle: Path) -> None:
    path = graph_of(NETWORK, bundle, SHAPE, NAMES)
    found = refuse_other_logits(lambda pixels: [pixels + 0.01], NETWORK, made_image(SHAPE), path, "made 1 bfloat16")
    assert found == pytest.approx(0.01, abs=1e-6)


def test_a_graph_that_cannot_be_read_is_refused_in_one_line(bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(DelineateError, match="cannot be read"):
        run_by("onnxruntime", NETWORK, bundle, "auto", SHAPE)
