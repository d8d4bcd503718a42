"""A bundle's network in other formats: like torch's, listed, or not there."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backends import onnx_operators as onnx_operators

from delineate.networks import create_network
from delineate.pipelines import export
from delineate.pipelines.bundling.bundles import change_bundle, new_bundle
from delineate.pipelines.bundling.exports import name_export, named_exports
from delineate.pipelines.bundling.verify import verify_bundle
from delineate.pipelines.core.errors import DelineateError, UnknownNameError
from delineate.pipelines.core.sums import sha256, write_sums
from delineate.pipelines.export import export_bundle
from delineate.pipelines.inference.segmenter import Segmenter

onnxruntime = pytest.importorskip("onnxruntime")
FEATURES = [16, 16, 32]
pytestmark = pytest.mark.usefixtures("onnx_operators")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_network("ultra_light_unet", in_channels=1, out_channels=1, features=FEATURES).eval()


@pytest.fixture(scope="module")
def trained(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = new_bundle(tmp_path_factory.mktemp("bundles") / "nerve", "nerve", "ultra_light_unet")
    change_bundle(folder, {"image_size": [64, 96], "network_def::features": FEATURES})
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    write_sums(folder / "models", ["model.pt"])
    return folder


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "nerve"
    shutil.copytree(trained, folder)
    assert export_bundle(folder).path == folder / "models" / "model.onnx"
    return folder


def test_an_exported_bundle_passes_verification(exported: Path) -> None:
    assert verify_bundle(exported) == []


def test_its_files_are_listed_and_named(exported: Path) -> None:
    listed = [line.split()[1] for line in (exported / "models" / "SHA256SUMS").read_text().splitlines()]
    assert listed == ["exports.json", "model.onnx", "model.pt"]
    told = named_exports(exported / "models")["model.onnx"]
    assert told["weights"] == sha256(exported / "models" / "model.pt")
    assert told["compared_on"] == "made images"


def test_segmenter_takes_the_bundles_own_graph(exported: Path, network: torch.nn.Module) -> None:
    segmenter = Segmenter(exported, device="cpu", backend="onnxruntime", precision="float32")
    image = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(segmenter.network(image), network(image), atol=1e-4, rtol=1e-4)
    assert segmenter.facts["backend"].startswith("onnxruntime ")


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["openvino", "pt2", "torchscript"])
def test_other_formats_are_compared_listed_and_verified(
    trained: Path, exported: Path, format_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if format_ == "openvino":
        pytest.importorskip("openvino")
        monkeypatch.setattr(
            export.openvino, "write_onnx", lambda *words: shutil.copyfile(exported / "models/model.onnx", words[-1])
        )
    shutil.copytree(trained, tmp_path / "b")
    done = export_bundle(tmp_path / "b", format_)
    assert done.difference < 1e-4
    assert verify_bundle(tmp_path / "b") == []
    assert done.path.name in named_exports(tmp_path / "b" / "models")
    if format_ == "openvino":
        assert (tmp_path / "b" / "models" / "model.bin").is_file()
        assert Segmenter(tmp_path / "b", device="cpu", backend="openvino").facts["backend"].startswith("openvino ")


def test_it_is_compared_on_images_of_a_data_set(
    exported: Path, quick: None, phantom_data: Path, tmp_path: Path
) -> None:
    done = export_bundle(exported, out=tmp_path / "net.onnx", data=phantom_data)
    assert done.compared == f"8 images of {phantom_data} and made ones"


def test_exports_of_other_weights_are_forgotten(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "b")
    models = tmp_path / "b" / "models"
    (models / "model.pt").write_bytes(b"other weights")
    name_export(models, "net.onnx", {})
    assert list(named_exports(models)) == ["net.onnx"]


@pytest.mark.parametrize("shape", [(1, 1, 64, 96), (3, 1, 50, 77), (2, 1, 128, 41)])
def test_it_takes_any_batch_height_and_width(exported: Path, network: torch.nn.Module, shape: tuple[int, ...]) -> None:
    session = onnxruntime.InferenceSession(exported / "models" / "model.onnx")
    assert [session.get_inputs()[0].name, session.get_outputs()[0].name] == ["image", "pred"]
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    (found,) = session.run(["pred"], {"image": image.numpy()})
    with torch.no_grad():
        assert np.abs(found - network(image).numpy()).max() < 1e-4


@pytest.fixture
def quick(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is what was exported above; the rest is done anew."""
    monkeypatch.setattr(export.onnx, "write", lambda *words: shutil.copyfile(exported / "models/model.onnx", words[-1]))


def test_it_may_be_written_elsewhere(trained: Path, quick: None, tmp_path: Path) -> None:
    before = sorted(trained.rglob("*"))
    assert export_bundle(trained, out=tmp_path / "new" / "net.onnx").path.is_file()
    assert sorted(trained.rglob("*")) == before
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["net.onnx"]


def test_what_differs_from_torch_is_not_kept(
    trained: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path / "b")
    true = export.onnx.open_graph

    def wrong(path: Path) -> Any:
        compute, told = true(path)
        return lambda image: [np.asarray(compute(image)[0]) + np.float32(0.1)], told

    monkeypatch.setattr(export.onnx, "open_graph", wrong)
    with pytest.raises(DelineateError, match=r"differs from torch by up to 0\.1 of a logit"):
        export_bundle(tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "b" / "models").iterdir()) == ["SHA256SUMS", "model.pt"]
    assert verify_bundle(tmp_path / "b") == []


def test_without_onnx_runtime_it_says_what_to_install(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DelineateError, match=r"onnxruntime is not installed; pip install [^,]*\[onnx\]\"$"):
        export_bundle(trained, out=tmp_path / "net.onnx")
    assert not any(tmp_path.iterdir())


def test_another_ending_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"name it \.onnx"):
        export_bundle(trained, out=tmp_path / "net.pb")


def test_an_unknown_format_is_named_with_those_there_are(trained: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'onnx'"):
        export_bundle(trained, "onnxx")


def test_a_bundle_without_weights_is_refused() -> None:
    with pytest.raises(DelineateError, match="no weights are shipped with nerve"):
        export_bundle("nerve")


def test_what_another_tool_exported_is_refused_with_the_line_that_lists_it(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "b")
    (tmp_path / "b" / "models" / "model.onnx").write_bytes(b"of another tool")
    (finding,) = verify_bundle(tmp_path / "b")
    assert "delineate export" in str(finding)
    assert "sha256sum model.onnx >> SHA256SUMS" in str(finding)
