"""What is installed from the wheel works without the repository."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from importlib.metadata import Distribution, distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import lean
import numpy as np
import onnx
import pytest
from packaging.requirements import Requirement
from PIL import Image
from processes import Done, call, succeeded
from structured_bundles import CHEST, structured_bundle

from delineate.pipelines.bundling.bundles import has_weights, shipped_bundles
from delineate.pipelines.bundling.exports import name_export
from delineate.pipelines.core.sums import replacing_listed

if TYPE_CHECKING:
    from conftest import Place

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("networks", "pipelines", "configs", "bundles")
NAMES = [one["name"].replace(" ", "_") for one in CHEST]
LEFT_OUT = ("__pycache__", "checkpoints", "cache")
AT_THE_ROOT = ("__init__.py", "errors.py", "installation.py", "py.typed")
READY = [name for name, folder in shipped_bundles().items() if has_weights(folder)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository: building leaves folders behind, and takes up what earlier builds left."""
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns(*LEFT_OUT)
    for folder in (*PACKAGES, "tests", "benchmarks", "docs", "runtime"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for name in (*AT_THE_ROOT, "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copyfile(ROOT / name, source / name)
    return source


def build(source: Path, out: Path) -> Path:
    words = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, source)
    succeeded(call(sys.executable, *words))
    (built,) = out.glob("*.whl")
    return built


def install(wheel: Path, folder: Path) -> Path:
    words = ("-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel)
    succeeded(call(sys.executable, *words))
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def runtime(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime, and links to what it needs and to what that needs, as pip would install it: nothing else."""
    folder = install(build(source / "runtime", tmp_path_factory.mktemp("wheel")), tmp_path_factory.mktemp("runtime"))
    (facts,) = distributions(path=[str(folder)])
    for name in needed_by(facts):
        for file in distribution(name).files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(distribution(name).locate_file(top))
    return folder


def put_graph(bundle: Path) -> Path:
    """A graph that is not its network's, and quickly made: the brighter, the likelier the later structure."""
    weights = onnx.numpy_helper.from_array(np.linspace(-9, 9, 4, dtype=np.float32).reshape(4, 1, 1, 1), "weights")
    sides = [onnx.helper.make_tensor_value_info(name, 1, ["b", c, "h", "w"]) for name, c in (("image", 1), ("pred", 4))]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["image", "weights"], ["pred"])], "made", sides[:1], sides[1:], [weights]
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    with replacing_listed(bundle / "models" / "model.onnx") as temporary:
        temporary.write_bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())
    name_export(bundle / "models", "model.onnx", {"format": "onnx", "precision": "float32"})
    return bundle


def needed_by(one: Distribution) -> set[str]:
    """Names of all that a distribution needs, without extras."""
    found: set[str] = set()
    waiting = [one]
    while waiting:
        lines = [Requirement(line) for line in waiting.pop().requires or []]
        names = {line.name for line in lines if line.marker is None or line.marker.evaluate({"extra": ""})} - found
        found |= names
        waiting += map(distribution, names)
    return found


def installed(site: Path, *words: str | Path, cwd: Path) -> Done:
    """Run ``delineate`` as the wheel installed it; it comes before the checkout in the path of modules."""
    return call(sys.executable, site / "bin" / "delineate", *words, cwd=cwd, env={"PYTHONPATH": str(site)})


def lean_path(site: Path) -> dict[str, str]:
    """Where modules are: the installed ones, and ours that keeps imports short."""
    return {"PYTHONPATH": os.pathsep.join((str(site), str(Path(lean.__file__).parent)))}


def test_the_wheel_holds_every_file_of_the_four_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {p.relative_to(ROOT) for package in PACKAGES for p in (ROOT / package).rglob("*") if p.is_file()}
    wanted = {file for file in files if not {*LEFT_OUT} & {*file.parts} and file.parent.name != "logs"}
    wanted |= {file for file in files if file.parts[0] == "bundles" and file.parts[2:] == ("logs", "seen.json")}
    assert {f"delineate/{file.as_posix()}" for file in wanted} <= names


def test_the_wheel_puts_nothing_else_into_site_packages(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"delineate"}


def test_the_package_holds_no_tests_no_benchmarks_and_no_documents(wheel: Path) -> None:
    """The repository's root is the package's folder, so this does not go without saying."""
    names = [name.split("/") for name in zipfile.ZipFile(wheel).namelist()]
    assert {name[1] for name in names if name[0] == "delineate"} == {*AT_THE_ROOT, *PACKAGES}


def test_the_installed_package_is_the_one_that_runs(site: Path, tmp_path: Path) -> None:
    code = (
        f"from importlib.util import find_spec; [print(find_spec('delineate.' + name).origin) for name in {PACKAGES}]"
    )
    done = succeeded(call(sys.executable, "-c", code, cwd=tmp_path, env={"PYTHONPATH": str(site)}))
    assert done.stdout.split() == [str(site / "delineate" / package / "__init__.py") for package in PACKAGES]


def test_the_installed_command_lists_its_bundles(site: Path, tmp_path: Path) -> None:
    done = succeeded(installed(site, "bundle", "list", cwd=tmp_path))
    assert "skin_lesion\t" in done.stdout
    assert "ultra_light_unet" in done.stdout


def test_the_installed_command_makes_a_bundle_that_passes(site: Path, tmp_path: Path) -> None:
    succeeded(installed(site, "bundle", "new", "mine", "--task", "breast_lesion", cwd=tmp_path))
    assert "passes" in succeeded(installed(site, "bundle", "verify", "mine", cwd=tmp_path)).stdout


SESSION = """
import json, lean, runpy, socket, sys, warnings
from delineate import *
print(__version__, Segmenter, train, evaluate, create_network("unet", in_channels=1))
warnings.simplefilter("default")  # those of an import are errors

def refuse(*_):
    raise AssertionError("a connection was tried")

socket.socket.connect = socket.getaddrinfo = refuse
for words in json.loads(sys.argv[1]):
    sys.argv = words
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code
"""


def test_what_is_installed_is_imported_and_segments_without_a_network(
    site: Path, place: Place, dataset: Path, tmp_path: Path
) -> None:
    """With the bundle of a run and with shipped weights, in an empty folder; in one process, as torch takes seconds."""
    before = {path: path.stat().st_mtime_ns for path in (site / "delineate" / "bundles").rglob("*")}
    image, bundles = dataset.parent / "phantoms" / "images" / "phantom_0001.jpg", [str(place.run), *READY[-1:]]
    commands = [[str(site / "bin/delineate"), "segment", b, str(image), "--out", Path(b).name] for b in bundles]
    words = ("-W", "error", "-c", SESSION, json.dumps(commands))
    done = succeeded(call(sys.executable, *words, cwd=tmp_path, env=lean_path(site)))
    assert "UNet" in done.stdout
    assert all((tmp_path / Path(bundle).name / "phantom_0001_mask.png").is_file() for bundle in bundles)
    assert {path: path.stat().st_mtime_ns for path in (site / "delineate" / "bundles").rglob("*")} == before


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_the_runtime_segments_with_nothing_but_what_it_needs(runtime: Path, dataset: Path, tmp_path: Path) -> None:
    bundle = put_graph(structured_bundle(tmp_path / "bundle", exclusive=True))
    image = dataset.parent / "phantoms" / "images" / "phantom_0001.jpg"
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from delineate.pipelines.cli import main; main()"
    words = (runtime, "segment", bundle, image, "--out", "masks", "--overlay")
    succeeded(call(sys.executable, "-I", "-S", "-c", code, *words, cwd=tmp_path))
    masks = [np.asarray(Image.open(tmp_path / "masks" / f"phantom_0001_{name}_mask.png")) for name in NAMES]
    assert {value for mask in masks for value in np.unique(mask)} == {0, 255}


def test_the_runtime_is_the_same_code_and_small(runtime: Path, site: Path) -> None:
    small, whole = ({path.relative_to(root) for path in root.glob("delineate/**/*.py")} for root in (runtime, site))
    assert small == whole
    assert all((runtime / path).read_bytes() == (site / path).read_bytes() for path in small)
    assert not list(runtime.glob("delineate/bundles/*/models"))
    assert not {name for name in ("torch", "monai", "scipy", "matplotlib", "SimpleITK") if (runtime / name).exists()}
