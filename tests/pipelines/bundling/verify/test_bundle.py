from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_parts import LOGGING
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.bundling.verify import Finding, verify_bundle
from delineate.pipelines.core.errors import InputError
from delineate.pipelines.core.sums import write_sums

COMMON = """\
bundle_root: "."
dataset_dir: data
device: "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')"
channels: rgb
image_size: [256, 256]
network_def: {_target_: monai.networks.nets.UNet, spatial_dims: 2, in_channels: 3, out_channels: "@classes"}
classes: 1
to_grid:
  - {_target_: delineate.pipelines.loading.ReadImaged, keys: image, channels: "@channels"}
preprocessing:
  _target_: monai.transforms.Compose
  transforms: "$@to_grid + @to_grid"
inferer: {_target_: monai.inferers.SlidingWindowInferer, roi_size: "@image_size"}
dataset: {_target_: monai.data.Dataset, data: [], transform: "@preprocessing"}
evaluator: {_target_: monai.engines.SupervisedEvaluator, device: "@device", network: "@network_def"}
"""
TRAIN = (
    COMMON
    + """\
loss: {_target_: monai.losses.DiceLoss, sigmoid: true}
optimizer: {_target_: torch.optim.AdamW, params: "$@network_def.parameters()"}
train:
  dataset: "@dataset"
  inferer: "@inferer"
  handlers: []
  trainer: {_target_: monai.engines.SupervisedTrainer, max_epochs: 2, device: "@device"}
validate:
  dataset: "@dataset"
  inferer: "@inferer"
  evaluator: "@evaluator"
run: ["$@train::trainer.run()"]
"""
)
INFERENCE = COMMON + "postprocessing: {_target_: monai.transforms.Compose, transforms: []}\n"
TENSOR = {
    "type": "image",
    "format": "RGB",
    "spatial_shape": [256, 256],
    "dtype": "float32",
    "value_range": [0, 1],
}
METADATA: dict[str, Any] = {
    "schema": "https://example.org/meta_schema.json",
    "version": "0.1.0",
    "monai_version": "1.6.1",
    "pytorch_version": "2.8.0",
    "numpy_version": "2.0.0",
    "required_packages_version": {},
    "task": "segmentation",
    "description": "a bundle for tests",
    "authors": "nobody",
    "copyright": "none",
    "network_data_format": {
        "inputs": {"image": {**TENSOR, "num_channels": 3}},
        "outputs": {"pred": {**TENSOR, "num_channels": 1}},
    },
}


def build(folder: Path) -> Path:
    """Write the smallest bundle that passes."""
    files = {
        "LICENSE": "a licence",
        "configs/train.yaml": TRAIN,
        "configs/evaluate.yaml": COMMON,
        "configs/inference.yaml": INFERENCE,
        "configs/metadata.json": json.dumps(METADATA, indent=2),
        "configs/logging.conf": LOGGING,
        "docs/README.md": "# a bundle",
        "docs/data_license.txt": "a licence",
    }
    for name, text in files.items():
        write(folder, name, text)
    return folder


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    write(folder, name, text.replace(old, new, 1))


def only(folder: Path) -> Finding:
    """Return the one finding there is."""
    findings = verify_bundle(folder)
    assert len(findings) == 1, [str(finding) for finding in findings]
    return findings[0]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return build(tmp_path / "bundle")


def with_weights(bundle: Path, weights: object = None) -> Path:
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(torch.nn.Linear(2, 1).state_dict() if weights is None else weights, bundle / "models/model.pt")
    write_sums(bundle / "models", ["model.pt"])
    return bundle / "models/model.pt"


# --- the whole ----------------------------------------------------------------------------------------------


def test_a_good_bundle_passes(bundle: Path) -> None:
    assert verify_bundle(bundle) == []


def test_a_run_with_its_logs_passes(bundle: Path) -> None:
    with_weights(bundle)
    (bundle / "checkpoints").mkdir()
    torch.save({"network": torch.nn.Linear(2, 1).state_dict(), "epoch": 3}, bundle / "checkpoints/last.pt")
    for name in (
        "checkpoints/training.lock",
        "logs/history.csv",
        "logs/log.txt",
        "logs/events.out.tfevents.17.host.1.0",
        "record.json",
    ):
        write(bundle, name, "1")
    assert verify_bundle(bundle) == []


def test_a_file_instead_of_a_folder_is_refused(bundle: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        verify_bundle(bundle / "LICENSE")


def test_a_finding_names_file_line_rule_and_remedy(bundle: Path) -> None:
    edit(bundle, "configs/evaluate.yaml", "channels: rgb", "channels: $open('x')")
    findings = [str(finding) for finding in verify_bundle(bundle)]
    assert any(f.startswith("configs/evaluate.yaml:4: expression: $open('x'): calls 'open'; ") for f in findings)


def test_verifying_imports_neither_torch_nor_monai(bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from delineate.pipelines.bundling.verify import verify_bundle;"
        "assert not verify_bundle(Path(sys.argv[1])); assert not {'torch', 'monai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(bundle)], check=True)


# --- files and code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "configs/metadata.json",
        "configs/train.yaml",
        "configs/logging.conf",
        "docs/data_license.txt",
    ],
)
def test_a_missing_file_is_reported(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert Finding(name, 1, "files", "missing; every bundle has it: add the file") in verify_bundle(bundle)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scripts/train.py", "1"),
        ("configs/logging.conf", "[handler_a]\nclass=eval"),
        ("models/last.pt", "no zip"),
        ("checkpoints/last.pt", "no zip"),
    ],
)
def test_what_could_run_is_reported(bundle: Path, name: str, text: str) -> None:
    write(bundle, name, text)
    assert (only(bundle).file, only(bundle).rule) == (name, "code")


# --- syntax -------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_reported_with_its_line(bundle: Path) -> None:
    write(bundle, "configs/extra.yaml", "a: 1\na: 2")
    assert (only(bundle).line, only(bundle).rule) == (2, "syntax")


def test_references_that_multiply_without_end_are_refused(bundle: Path) -> None:
    lines = [f'a{i}: ["@a{i + 1}", "@a{i + 1}"]' for i in range(40)]
    name = "configs/train.yaml"
    edit(bundle, name, 'channels: "@channels"', 'channels: "@a0"')
    write(bundle, name, (bundle / name).read_text() + "\n".join([*lines, "a40: 1"]))
    findings = verify_bundle(bundle)
    assert {"size", "syntax"} == {finding.rule for finding in findings}
    assert any("without end" in finding.message for finding in findings)


@given(st.text(alphabet="ab:@$%#+-[]{}&*!'\"\n _<>|0", max_size=60))
def test_no_configuration_makes_the_checker_crash(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        write(Path(name), "configs/extra.yaml", text)
        write(Path(name), "configs/extra.json", text)
        assert all(finding.message for finding in verify_bundle(Path(name)))


# --- targets and their arguments ----------------------------------------------------------------------------


def test_a_target_is_found_wherever_it_stands(bundle: Path) -> None:
    write(bundle, "configs/extra.yaml", "a: 1\nb:\n  c:\n    - _target_: os.system\n")
    assert (only(bundle).line, only(bundle).rule) == (4, "target")


def test_an_argument_that_opens_a_door_is_reported(bundle: Path) -> None:
    write(bundle, "configs/extra.yaml", "a:\n  x: 1\n  reader: os.system\n")
    assert (only(bundle).line, only(bundle).rule) == (3, "target")


@pytest.mark.parametrize("address", ["https://example.org/x", "S3://bucket/x"])
def test_a_network_address_is_refused(bundle: Path, address: str) -> None:
    write(bundle, "configs/extra.yaml", f"a: [x, '{address}']")
    assert "is a network address" in only(bundle).message


@pytest.mark.parametrize(
    "key", ["network_def::_target_", "network_def#_target_", "+network_def::_target_", "a::b::_target_"]
)
def test_a_target_written_as_a_path_is_found(bundle: Path, key: str) -> None:
    write(bundle, "configs/extra.yaml", f"c: 1\n{key}: os.system\n")
    assert (only(bundle).line, only(bundle).rule) == (2, "target")


def test_a_target_in_the_metadata_is_found(bundle: Path) -> None:
    write(
        bundle,
        "configs/metadata.json",
        json.dumps({**METADATA, "changelog": {"_target_": "os.system"}}, indent=1),
    )
    assert only(bundle).rule == "target"
    assert only(bundle).line > 1


# --- expressions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a:\n  $import os",
            "a:\n- $import os",
            "a: 1\nb: {c: [1, {d: $eval('1')}]}",
            "a: 1\n$import os: 2",
        ),
        *(
            "a: 1\nb::c: $import os",
            "a: 1\n'b': '%other.json::x'",
            "a: 1\nb: '%/etc/x.YAML'",
            "x:\n  a: '%y.yml#z'",
        ),
    ],
)
def test_an_expression_is_found_wherever_it_stands(bundle: Path, text: str) -> None:
    write(bundle, "configs/extra.yaml", text)
    assert "expression" in {finding.rule for finding in verify_bundle(bundle)}


def test_an_import_in_the_metadata_is_found(bundle: Path) -> None:
    write(bundle, "configs/metadata.json", json.dumps({**METADATA, "task": "$import os"}, indent=1))
    assert (only(bundle).rule, only(bundle).line) == ("expression", 8)


# --- ids ----------------------------------------------------------------------------------------------------


def test_a_missing_id_is_answered_with_the_closest(bundle: Path) -> None:
    edit(bundle, "configs/inference.yaml", "postprocessing:", "postprocesing:")
    assert "has no id 'postprocessing'; did you mean 'postprocesing'" in only(bundle).message


@pytest.mark.parametrize("id_", ["max_epochs: 2, ", "  handlers: []\n"])
def test_a_nested_id_that_tools_need_is_missed(bundle: Path, id_: str) -> None:
    edit(bundle, "configs/train.yaml", id_, "")
    assert only(bundle).rule == "ids"


def test_a_reference_to_nothing_is_reported_with_its_line(bundle: Path) -> None:
    edit(bundle, "configs/train.yaml", 'run: ["$@train::trainer', 'run: ["$@train::tainer')
    assert only(bundle).line == len(TRAIN.splitlines())
    assert "refers to 'train::tainer', which is not in this file; did you mean 'train::trainer'" in only(bundle).message


def test_a_reference_into_another_file_is_refused(bundle: Path) -> None:
    edit(bundle, "configs/inference.yaml", "dataset_dir: data", "dataset_dir: '@loss'")
    assert "refers to 'loss', which is not in this file" in verify_bundle(bundle)[0].message


def test_a_relative_reference_is_refused(bundle: Path) -> None:
    edit(bundle, "configs/train.yaml", "handlers: []", 'handlers: ["@::0"]')
    assert "write the full id" in only(bundle).message


def test_a_macro_within_the_file_is_followed(bundle: Path) -> None:
    edit(bundle, "configs/inference.yaml", "dataset_dir: data", "dataset_dir: '%copy::a'\ncopy: {a: data}")
    assert verify_bundle(bundle) == []
    edit(bundle, "configs/inference.yaml", "%copy::a", "%copy::b")
    assert "refers to 'copy::b'" in only(bundle).message


def test_an_overlay_may_refer_to_what_it_is_laid_over(bundle: Path) -> None:
    write(bundle, "configs/overlay.yaml", 'network_def::in_channels: "@classes"\n+train::handlers: ["@loss"]\n')
    assert verify_bundle(bundle) == []


# --- metadata -----------------------------------------------------------------------------------------------


def test_metadata_off_the_schema_are_reported(bundle: Path) -> None:
    edit(bundle, "configs/metadata.json", '"task": "segmentation"', '"task": 5')
    assert (only(bundle).rule, only(bundle).line) == ("metadata", 8)
    edit(bundle, "configs/metadata.json", '  "task": 5,\n', "")
    assert "'task' is a required property" in only(bundle).message


@pytest.mark.parametrize(
    ("name", "old", "new", "seen"),
    [
        ("metadata.json", '"num_channels": 3', '"num_channels": 1', "inputs::image::num_channels is 1"),
        ("metadata.json", '"num_channels": 1', '"num_channels": 2', "outputs::pred::num_channels is 2"),
        ("metadata.json", "256,", "128,", "inputs::image::spatial_shape is [128, 256]"),
        ("metadata.json", '"pred"', '"mask"', "outputs::pred::num_channels is missing"),
    ],
)
def test_metadata_that_are_untrue_are_reported(bundle: Path, name: str, old: str, new: str, seen: str) -> None:
    edit(bundle, f"configs/{name}", old, new)
    assert seen in only(bundle).message


# --- weights ------------------------------------------------------------------------------------------------


def test_weights_with_their_hash_pass(bundle: Path) -> None:
    with_weights(bundle)
    assert verify_bundle(bundle) == []


def test_weights_without_a_hash_are_refused(bundle: Path) -> None:
    with_weights(bundle)
    (bundle / "models/SHA256SUMS").unlink()
    assert (only(bundle).file, only(bundle).rule) == ("models/SHA256SUMS", "weights")


def test_exchanged_weights_are_refused(bundle: Path) -> None:
    path = with_weights(bundle)
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    assert "another SHA-256" in only(bundle).message


# --- preprocessing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "old", "new", "where"),
    [
        ("inference.yaml", "channels: rgb", "channels: grey", "preprocessing::transforms"),
        ("evaluate.yaml", "@to_grid + @to_grid", "@to_grid", "preprocessing::transforms"),
        ("inference.yaml", "Compose\n", "Compose\n  lazy: true\n", "preprocessing::lazy"),
        ("inference.yaml", "classes: 1", "classes: 2", "network_def::out_channels"),
        ("evaluate.yaml", "spatial_dims: 2", "spatial_dims: 3", "network_def::spatial_dims"),
        ("inference.yaml", "roi_size:", "overlap: 0.5, roi_size:", "inferer::overlap"),
    ],
)
def test_what_differs_between_training_and_inference_is_named(
    bundle: Path, name: str, old: str, new: str, where: str
) -> None:
    edit(bundle, f"configs/{name}", old, new)
    assert only(bundle).rule == "preprocessing"
    assert only(bundle).message.startswith(f"{where} differs from configs/")


def test_comments_and_descriptions_do_not_differ(bundle: Path) -> None:
    edit(bundle, "configs/inference.yaml", "Compose\n", "Compose  # a comment\n  _desc_: in other words\n")
    assert verify_bundle(bundle) == []


def test_a_literal_and_a_reference_to_it_are_alike(bundle: Path) -> None:
    edit(bundle, "configs/inference.yaml", 'channels: "@channels"', "channels: rgb")
    assert verify_bundle(bundle) == []
