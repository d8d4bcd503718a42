from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.errors import InputError
from delineate.pipelines.verify import Finding, verify_bundle
from delineate.pipelines.weight_sums import write_sums

COMMON = """\
bundle_root: "."
dataset_dir: data
device: "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')"
channels: rgb
image_size: [256, 256]
network_def: {_target_: monai.networks.nets.UNet, spatial_dims: 2, in_channels: 3, out_channels: "@classes"}
classes: 1
to_grid:
  - {_target_: delineate.pipelines.transforms.ReadImaged, keys: image, channels: "@channels"}
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
LOGGING = """\
[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=plain
[logger_root]
level=INFO
handlers=console
[handler_console]
class=StreamHandler
args=(sys.stdout,)
[formatter_plain]
format=%(asctime)s %(message)s
"""


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


# --- the whole -----------------------------------------------------------------------------------------------------


def test_a_good_bundle_passes(bundle: Path) -> None:
    assert verify_bundle(bundle) == []


def test_a_run_with_its_logs_passes(bundle: Path) -> None:
    with_weights(bundle)
    torch.save({"network": torch.nn.Linear(2, 1).state_dict(), "epoch": 3}, bundle / "models/last.pt")
    for name in ("logs/history.csv", "logs/log.txt", "logs/events.out.tfevents.17.host.1.0", "record.json"):
        write(bundle, name, "1")
    assert verify_bundle(bundle) == []


def test_a_file_instead_of_a_folder_is_refused(bundle: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        verify_bundle(bundle / "LICENSE")


def test_a_finding_names_file_line_rule_and_remedy(bundle: Path) -> None:
    edit(bundle, "configs/evaluate.yaml", "channels: rgb", "channels: $open('x')")
    findings = [str(finding) for finding in verify_bundle(bundle)]
    assert any(
        f.startswith("configs/evaluate.yaml:4: expression: $open('x'): calls 'open'; ") for f in findings
    )


def test_verifying_imports_neither_torch_nor_monai(bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from delineate.pipelines.verify import verify_bundle;"
        "assert not verify_bundle(Path(sys.argv[1])); assert not {'torch', 'monai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(bundle)], check=True)


# --- files and code ------------------------------------------------------------------------------------------------


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
    "name",
    [
        *(
            "scripts/train.py",
            "scripts/train.PY",
            "docs/x.ipynb",
            "run.sh",
            "lib.so",
            "data.pkl",
            "all.zip",
            "a.npy",
        ),
        *(
            "configs/extra.yml",
            "model.pt",
            "unknown",
            ".gitignore",
            "events.out.tfevents.py",
            "docs/page.html",
        ),
    ],
)
def test_a_file_that_does_not_belong_is_refused(bundle: Path, name: str) -> None:
    write(bundle, name, "x")
    assert (only(bundle).file, only(bundle).rule) == (name, "code")


def test_binary_content_under_a_text_name_is_refused(bundle: Path) -> None:
    (bundle / "docs/notes.txt").write_bytes(pickle.dumps({"a": 1}) + b"\0")
    assert "not plain text" in only(bundle).message


def test_a_symbolic_link_is_refused_and_not_followed(bundle: Path, tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/evil.py", "x")
    (bundle / "docs/more").symlink_to(tmp_path / "elsewhere")
    assert only(bundle).message.startswith("a symbolic link")


def test_the_cache_of_a_training_is_refused_once(bundle: Path) -> None:
    for name in ("cache/a.pt", "cache/b.pt"):
        write(bundle, name, "x")
    assert "remove cache/" in only(bundle).message


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("never printed",))


def test_weights_that_would_run_code_are_refused(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_weights(bundle, {"a": Evil()})
    assert "print" in only(bundle).message
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", [2, 4])
def test_weights_of_any_pickle_protocol_are_looked_into(bundle: Path, protocol: int) -> None:
    path = with_weights(bundle)
    torch.save({"a": Evil()}, path, pickle_protocol=protocol)
    write_sums(path.parent, ["model.pt"])
    assert only(bundle).rule == "code"


def test_weights_in_the_old_format_are_refused(bundle: Path) -> None:
    path = with_weights(bundle)
    torch.save({"a": 1}, path, _use_new_zipfile_serialization=False)
    write_sums(path.parent, ["model.pt"])
    assert "not a torch file in zip format" in only(bundle).message


def test_a_pickle_in_front_of_the_zip_is_refused(bundle: Path) -> None:
    path = with_weights(bundle)
    path.write_bytes(pickle.dumps({"a": 1}) + path.read_bytes())
    write_sums(path.parent, ["model.pt"])
    assert "not a torch file in zip format" in only(bundle).message


def test_code_hidden_in_the_weights_archive_is_refused(bundle: Path) -> None:
    path = with_weights(bundle)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/code/evil.py", "x")
    write_sums(path.parent, ["model.pt"])
    assert "evil.py" in only(bundle).message


def test_truncated_weights_are_refused(bundle: Path) -> None:
    path = with_weights(bundle)
    path.write_bytes(path.read_bytes()[:200])
    write_sums(path.parent, ["model.pt"])
    assert "cannot be read" in only(bundle).message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("class=StreamHandler", "class=__import__('os').system"),
        ("class=StreamHandler", "class=eval"),
        ("class=StreamHandler", "class=logging.handlers.SMTPHandler"),
        ("args=(sys.stdout,)", "args=(__import__('os').system('true'),)"),
        ("args=(sys.stdout,)", "args=(sys.modules,)"),
        ("args=(sys.stdout,)", "args=('/etc/passwd',)"),
        ("args=(sys.stdout,)", "args=('../x.log',)"),
        ("args=(sys.stdout,)", "kwargs={'a': eval('1')}"),
        ("class=StreamHandler", "class: os.system"),
    ],
)
def test_a_logging_file_that_would_run_code_is_refused(bundle: Path, old: str, new: str) -> None:
    edit(bundle, "configs/logging.conf", old, new)
    line = 1 + LOGGING.splitlines().index(old)
    assert (only(bundle).line, only(bundle).rule) == (line, "code")


def test_code_in_the_defaults_of_a_logging_file_is_refused(bundle: Path) -> None:
    edit(bundle, "configs/logging.conf", "[loggers]", "[DEFAULT]\nargs=(eval('1'),)\n[loggers]")
    assert any(finding.rule == "code" for finding in verify_bundle(bundle))


# --- syntax --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [", 3),
        ("a: 1\na: 2", 2),
        ("a: {b: 1, b: 2}", 1),
        ("a: 1\nb: !!python/object/apply:os.system ['true']", 2),
        ("a: !custom 1", 1),
        ("a: &x 1\nb: *x", 1),
        ("a:\n  <<: {b: 1}", 2),
        ("? [1, 2]\n: 3", 1),
        ("- 1", 1),
        ("", 1),
        ("a: 2026-99-99", 1),
        ("1: 2", 1),
        ("a: 1\n---\nb: 2", 2),
        ("a: " + "[" * 60 + "]" * 60, 1),
        ("a: " + "[" * 5000, 1),
        ("#" * (2 << 20), 1),
    ],
)
def test_yaml_that_is_wrong_or_too_clever_is_refused(bundle: Path, text: str, line: int) -> None:
    write(bundle, "configs/extra.yaml", text)
    assert (only(bundle).line, only(bundle).rule) == (line, "syntax")


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', "[]", "[" * 100_000])
def test_json_that_is_wrong_is_refused(bundle: Path, text: str) -> None:
    write(bundle, "configs/extra.json", text)
    assert only(bundle).rule == "syntax"


def test_text_that_is_not_utf8_is_refused(bundle: Path) -> None:
    (bundle / "configs/extra.yaml").write_bytes(b"a: \xff\xfe")
    assert "UTF-8" in only(bundle).message


def test_references_that_multiply_without_end_are_refused(bundle: Path) -> None:
    lines = [f'a{i}: ["@a{i + 1}", "@a{i + 1}"]' for i in range(40)]
    name = "configs/train.yaml"
    edit(bundle, name, 'channels: "@channels"', 'channels: "@a0"')
    write(bundle, name, (bundle / name).read_text() + "\n".join([*lines, "a40: 1"]))
    assert "without end" in only(bundle).message


@given(st.text(alphabet="ab:@$%#+-[]{}&*!'\"\n _<>|0", max_size=60))
def test_no_configuration_makes_the_checker_crash(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        write(Path(name), "configs/extra.yaml", text)
        write(Path(name), "configs/extra.json", text)
        assert all(finding.message for finding in verify_bundle(Path(name)))


# --- targets and their arguments -----------------------------------------------------------------------------------

HOSTILE_TARGETS = [
    "os.system",
    "builtins.eval",
    "Compose",
    "UNet",
    "monai.data.utils.pickle.loads",
    "monai.transforms.os.system",
    "monai.transforms.io.array.locate",
    "monai.bundle.ConfigParser",
    "monai.bundle.run",
    "monai.apps.download_url",
    "monai.apps.DecathlonDataset",
    "monai.utils.run_cmd",
    "monai.utils.instantiate",
    "monai.utils.optional_import",
    "monai.transforms.Lambda",
    "monai.transforms.Lambdad",
    "monai.transforms.LambdaDict",
    "monai.transforms.RandLambdad",
    "monai.transforms.TorchVisiond",
    "monai.transforms.RandTorchIOd",
    "monai.transforms.CuCIM",
    "monai.data.load_net_with_metadata",
    "monai.data.LMDBDataset",
    "monai.losses.PerceptualLoss",
    "monai.networks.trt_compile",
    "monai.networks.nets.get_pretrained_resnet_medicalnet",
    "monai.networks.nets.FlexUNetEncoderRegister",
    "monai.handlers.MLFlowHandler",
    "monai.handlers.TrtHandler",
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.optim.lr_scheduler.LambdaLR",
    "torch.utils.data.datapipes.iter.Mapper",
    "torch.utils.cpp_extension.load",
    "torch.nn.modules.module.register_module_forward_hook",
    "ignite.handlers.LambdaStateScheduler",
    "ignite.handlers.WandBLogger",
    "ignite.metrics.MetricsLambda",
    "delineate.pipelines.cli.main",
    "delineate.pipelines.files.write_atomically",
    "delineate.pipelines.transforms.Path",
    "delineate.pipelines.transforms.torch.load",
    "delineate.networks._private",
    "delineate.networks.__builtins__",
    "$@network_def.forward",
    "@channels",
    "%channels",
    "monai.transforms.Compose\n",
    " monai.transforms.Compose",
]


@pytest.mark.parametrize("target", HOSTILE_TARGETS)
def test_a_target_outside_the_allow_list_is_refused(bundle: Path, target: str) -> None:
    write(bundle, "configs/extra.yaml", f"a: 1\nb:\n  c:\n    - _target_: {json.dumps(target)}\n")
    assert Finding("configs/extra.yaml", 4, "target", "") in [
        Finding(f.file, f.line, f.rule, "") for f in verify_bundle(bundle)
    ]


@pytest.mark.parametrize(
    "target",
    [
        *(
            "monai.handlers.from_engine",
            "monai.data.CacheDataset",
            "monai.handlers.CheckpointSaver",
            "torch.device",
        ),
        *(
            "torch.optim.lr_scheduler.OneCycleLR",
            "torch.utils.data.DistributedSampler",
            "torch.nn.BCEWithLogitsLoss",
        ),
        *("ignite.handlers.EarlyStopping", "ignite.metrics.Accuracy", "monai.utils.set_determinism"),
        *(
            "delineate.pipelines.transforms.ReadImaged",
            "monai.losses.DiceCELoss",
            "monai.transforms.RandFlipd",
        ),
    ],
)
def test_a_target_that_bundles_need_is_allowed(bundle: Path, target: str) -> None:
    write(
        bundle,
        "configs/extra.yaml",
        f"a: {{_target_: {target}, _mode_: callable, _disabled_: true, _desc_: x}}",
    )
    assert verify_bundle(bundle) == []


@pytest.mark.parametrize(
    "target", ["monai.transforms.RandFlipdd", "RandFlipd", "monai.transforms.array.RandFlipd"]
)
def test_a_near_miss_is_answered_with_the_closest_target(bundle: Path, target: str) -> None:
    write(bundle, "configs/extra.yaml", f"a: {{_target_: {target}}}")
    assert "did you mean 'monai.transforms.RandFlipd'" in only(bundle).message


def test_every_allowed_target_exists() -> None:
    from pydoc import locate

    from delineate.pipelines.targets import allowed_targets

    assert [name for name in sorted(allowed_targets()) if locate(name) is None] == []
    assert [name for name in sorted(allowed_targets()) if type(locate(name)) is type(sys)] == []


@pytest.mark.parametrize(
    "entry",
    [
        *("_mode_: debug", "_mode_: '@channels'", "_debug_: true", "__class__: 1", "_args_: []"),
        *(
            "reader: os.system",
            "reader: [PILReader, subprocess.Popen]",
            "reader: '@channels'",
            "reader: $str('x')",
        ),
        *(
            "writer: os.system",
            "merger_cls: os.system",
            "pretrained: true",
            "pretrained_url: x",
            "pretrained: '@b'",
        ),
        *("weights_only: false", "allow_pickle: true", "path: https://example.org/x", "path: S3://bucket/x"),
    ],
)
def test_an_argument_that_opens_a_door_is_refused(bundle: Path, entry: str) -> None:
    write(bundle, "configs/extra.yaml", f"b: false\nchannels: rgb\na:\n  x: 1\n  {entry}\n")
    assert (only(bundle).line, only(bundle).rule) == (5, "target")


def test_readers_of_monai_are_allowed(bundle: Path) -> None:
    component = "{_target_: monai.transforms.LoadImaged, keys: a, reader: %s}"
    for reader in ("PILReader", "[PILReader, ITKReader]", "{_target_: monai.data.PILReader}", "null"):
        write(bundle, "configs/extra.yaml", f"a: {component % reader}")
        assert verify_bundle(bundle) == []


def test_a_network_that_downloads_by_default_is_refused(bundle: Path) -> None:
    write(bundle, "configs/extra.yaml", "a: {_target_: monai.networks.nets.EfficientNetBN, model_name: b0}")
    assert "add pretrained: false" in only(bundle).message
    write(
        bundle, "configs/extra.yaml", "a: {_target_: monai.networks.nets.EfficientNetBN, pretrained: false}"
    )
    assert verify_bundle(bundle) == []


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


# --- expressions ---------------------------------------------------------------------------------------------------


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


# --- ids -----------------------------------------------------------------------------------------------------------


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
    assert (
        "refers to 'train::tainer', which is not in this file; did you mean 'train::trainer'"
        in only(bundle).message
    )


def test_a_reference_into_another_file_is_refused(bundle: Path) -> None:
    edit(bundle, "configs/inference.yaml", "dataset_dir: data", "dataset_dir: '@loss'")
    assert "stands alone" in only(bundle).message or "did you mean" in only(bundle).message


def test_a_relative_reference_is_refused(bundle: Path) -> None:
    edit(bundle, "configs/train.yaml", "handlers: []", 'handlers: ["@::0"]')
    assert "write the full id" in only(bundle).message


def test_a_macro_within_the_file_is_followed(bundle: Path) -> None:
    edit(bundle, "configs/inference.yaml", "dataset_dir: data", "dataset_dir: '%copy::a'\ncopy: {a: data}")
    assert verify_bundle(bundle) == []
    edit(bundle, "configs/inference.yaml", "%copy::a", "%copy::b")
    assert "refers to 'copy::b'" in only(bundle).message


def test_an_overlay_may_refer_to_what_it_is_laid_over(bundle: Path) -> None:
    write(
        bundle, "configs/overlay.yaml", 'network_def::in_channels: "@classes"\n+train::handlers: ["@loss"]\n'
    )
    assert verify_bundle(bundle) == []


# --- metadata ------------------------------------------------------------------------------------------------------


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
def test_metadata_that_are_untrue_are_reported(
    bundle: Path, name: str, old: str, new: str, seen: str
) -> None:
    edit(bundle, f"configs/{name}", old, new)
    assert seen in only(bundle).message


# --- weights -------------------------------------------------------------------------------------------------------


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


# --- preprocessing -------------------------------------------------------------------------------------------------


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
