"""Masks without torch: those of torch's Segmenter, from the same bundle; and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from backends import graph_cache as graph_cache
from backends import onnx_operators as onnx_operators
from backends import with_graph
from dicom_objects import radiograph
from familiar_bundles import noise, page, teach, write
from PIL import Image
from processes import inside, refusal, succeeded
from structured_bundles import CHEST, structured_bundle
from without_torch import without_torch

from delineate.pipelines.bundling import bundles
from delineate.pipelines.bundling.bundles import change_bundle
from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.inference.outputs import Segmentation
from delineate.pipelines.inference.runtime.segmenter import GraphSegmenter
from delineate.pipelines.inference.segmenter import Segmenter

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("graph_cache")


def exported(folder: Path, exclusive: bool = False, task: str = "nerve") -> Path:
    """A bundle with a graph; of whatever kind, it has the same network and weights, which are exported once."""
    structures = CHEST[: 3 - exclusive]
    bundle = structured_bundle(folder / "trained", exclusive, task, structures)
    change_bundle(bundle, {"window": [32, 16]})
    return with_graph(teach(bundle), folder / "exported")


@pytest.fixture(scope="module", params=[False, True], ids=["overlapping", "exclusive"])
def chest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("chest"), request.param)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write(folder / "noise.png", noise())
    write(folder / "page.png", page())
    Image.fromarray(noise()).rotate(90, expand=True).resize((41, 57)).save(folder / "photo.jpg")
    (folder / "broken.png").write_bytes(b"")
    return folder


def both(bundle: Path, images: Any, **settings: Any) -> tuple[list[Segmentation], list[Segmentation]]:
    by_torch = Segmenter(bundle, backend="onnxruntime", device="cpu", **settings)
    return list(GraphSegmenter(bundle, **settings).segment(images)), list(by_torch.segment(images))


def same(found: list[Segmentation], expected: list[Segmentation]) -> bool:
    return all(
        np.array_equal(one.masks[name], mask)
        and np.allclose(one.probabilities[name], other.probabilities[name], 0, 1e-5)
        for one, other in zip(found, expected, strict=True)
        for name, mask in other.masks.items()
    )


@pytest.mark.parametrize(
    "settings", [{}, {"tta": "flips"}, {"threshold": {"heart": 0.7}}, {"image_size": [40, 64]}], ids=str
)
def test_masks_are_the_same(chest: Path, settings: dict[str, Any]) -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (50 + seed, 70), dtype=np.uint8) for seed in range(2)]
    assert same(*both(chest, pictures, **settings))


def test_a_volume_comes_back_whole(tmp_path: Path) -> None:
    bundle = exported(tmp_path, task="ct_slice")
    voxels = np.random.default_rng(0).integers(-200, 300, (20, 30, 5), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "ct.nii.gz")
    found, expected = both(bundle, tmp_path / "ct.nii.gz")
    assert found[0].shape == voxels.shape
    assert same(found, expected)


@pytest.mark.parametrize("cores", [1, 5])
def test_what_is_computed_ahead_is_the_same_and_in_the_same_order(
    chest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    for number in range(7):
        write(tmp_path / f"{number}.png", noise())
    (tmp_path / "3.png").write_bytes(b"")
    monkeypatch.setattr("delineate.pipelines.inference.outlining.usable_cores", lambda: cores)
    segmenter, refused = GraphSegmenter(chest), list[InputError]()
    found = list(segmenter.segment(tmp_path, refused.append))
    expected = list(segmenter.segment(iter(path for path in sorted(tmp_path.iterdir()) if path.name != "3.png")))
    assert [one.name for one in found] == [one.name for one in expected] == ["0", "1", "2", "4", "5", "6"]
    assert same(found, expected)
    assert [Path(error.source).name for error in refused] == ["3.png"]


def test_the_command_writes_the_same_files_where_nothing_else_is_installed(chest: Path, inputs: Path) -> None:
    words = ("segment", chest, inputs, "--out")
    whole = inside(*words, "all", "--overlay", "--backend", "onnxruntime", "--set", "device=cpu", cwd=chest.parent)
    done = without_torch(*words, "lean", "--overlay", cwd=chest.parent)
    assert done.returncode == whole.returncode == 1  # of the broken file
    assert done.stderr == whole.stderr
    assert done.stdout.splitlines() == [
        line.replace("all/", "lean/") for line in whole.stdout.splitlines() if not line.startswith("python")
    ]
    for one, other in zip(*(sorted((chest.parent / name).iterdir()) for name in ("lean", "all")), strict=True):
        assert one.name == other.name
        if one.name.endswith("_mask.png"):
            assert one.read_bytes() == other.read_bytes()
    assert rows(chest.parent / "lean") == rows(chest.parent / "all")


def test_with_the_extra_dicom_it_writes_the_same_objects(chest: Path, tmp_path: Path) -> None:
    words = ("segment", chest, radiograph(tmp_path / "a.dcm"), "--format", "seg,sc,sr", "--out")
    dicom = ("highdicom", "dicomweb_client", "requests")
    succeeded(without_torch(*words, "lean", cwd=tmp_path, besides=dicom))
    succeeded(inside(*words, "all", "--backend", "onnxruntime", "--set", "device=cpu", cwd=tmp_path))
    assert [path.name for path in sorted(tmp_path.glob("lean/*.dcm"))] == ["a_sc.dcm", "a_seg.dcm", "a_sr.dcm"]
    for name, content in (("seg", "PixelData"), ("sr", "ContentSequence")):  # sc has letters, of another font
        one, other = (pydicom.dcmread(tmp_path / folder / f"a_{name}.dcm") for folder in ("lean", "all"))
        assert one[content] == other[content]


def rows(folder: Path) -> list[dict[str, str]]:
    """Of results.csv; the records are of other settings, and overlays that name structures in another font."""
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return [{key: cell for key, cell in row.items() if key != "record"} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("command", "rest"),
    [
        ("networks", ""),
        ("train", "skin_lesion --data x"),
        ("evaluate", "skin_lesion --data x --out y"),
        ("demo", ""),
        ("tune", "skin_lesion"),
        ("data index", "x --out y"),
        ("bundle new", "x --task skin_lesion"),
        ("node check", "x"),
    ],
)
def test_what_takes_torch_says_so_in_one_line_and_does_nothing_before(tmp_path: Path, command: str, rest: str) -> None:
    done = without_torch(*command.split(), *rest.split(), cwd=tmp_path)
    assert refusal(done).startswith(
        f"error: delineate {command} needs the full installation of Delineate; this runtime only segments:"
    )
    assert done.stdout == ""
    assert not any(tmp_path.iterdir())


def test_a_command_that_takes_torch_has_its_help(tmp_path: Path) -> None:
    assert "Train a bundle" in succeeded(without_torch("train", "--help", cwd=tmp_path)).stdout


def test_info_says_what_there_is(tmp_path: Path) -> None:
    facts = json.loads(succeeded(without_torch("info", "--json", cwd=tmp_path)).stdout)
    assert facts["installation"].startswith("the runtime without torch")
    assert facts["versions"]["onnxruntime"] == version("onnxruntime")
    assert facts["memory_gb"] > 0
    lines = succeeded(without_torch("info", cwd=tmp_path)).stdout.splitlines()
    assert f"version: numpy\t{version('numpy')}" in lines


def test_the_list_of_bundles_says_how_to_get_one(tmp_path: Path) -> None:
    said = succeeded(without_torch("bundle", "list", cwd=tmp_path)).stdout.splitlines()
    assert len(said) == 1
    assert "delineate export skin_lesion --format onnx --out FOLDER" in said[0]


def test_a_name_where_no_bundles_are_shipped_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "shipped_bundles", dict)
    monkeypatch.setattr(bundles, "has_torch", lambda: False)
    with pytest.raises(DelineateError, match="'skin_lesion'; this runtime brings no bundles; export one on a full"):
        GraphSegmenter("skin_lesion")


def test_a_bundle_without_a_graph_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="'delineate export BUNDLE --format onnx --out FOLDER'"):
        GraphSegmenter(structured_bundle(tmp_path / "chest", False))


def test_a_graph_of_other_weights_is_not_used(chest: Path, tmp_path: Path) -> None:
    shutil.copytree(chest, tmp_path / "chest")
    table = tmp_path / "chest" / "models" / "exports.json"
    table.write_text(table.read_text().replace('"weights": "', '"weights": "0'))
    with pytest.raises(DelineateError, match="has no exported graph of its weights"):
        GraphSegmenter(tmp_path / "chest", trust=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inferer::inferer::overlap": 0.5}, "has a way of its own with images \\(inferer::inferer::overlap\\)"),
        ({"device": "nonsense"}, "there is no such device"),
        ({"precision": "bfloat16"}, "onnxruntime computes in float32"),
        ({"tta": "rotations", "upright": True}, "training turned no image"),
        ({"channels": "$__import__('os').getcwd()"}, "takes MONAI to compute"),
        ({"backend": "torch"}, "torch is not installed here"),
        ({"backend": "nonsense"}, "no backend is called 'nonsense'"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused(chest: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(DelineateError, match=words):
        GraphSegmenter(chest, **settings)


def test_a_bundle_with_a_preparation_of_its_own_is_refused(chest: Path, tmp_path: Path) -> None:
    shutil.copytree(chest, tmp_path / "chest")
    file = tmp_path / "chest" / "configs" / "inference.yaml"
    file.write_text(file.read_text().replace("a_max: 255", "a_max: 127"))
    with pytest.raises(DelineateError, match="has a way of its own with images \\(to_network\\)"):
        GraphSegmenter(tmp_path / "chest", trust=True)


def test_a_network_that_gives_no_numbers_is_refused_by_the_image(chest: Path, inputs: Path) -> None:
    segmenter = GraphSegmenter(chest)
    compute = segmenter._compute
    segmenter._compute = lambda pixels: [np.full_like(each, np.nan) for each in compute(pixels)]
    told: list[InputError] = []
    assert list(segmenter.segment(inputs / "noise.png", on_error=told.append)) == []
    assert [error.source for error in told] == [str(inputs / "noise.png")]
    assert "NaN or infinity" in told[0].reason
