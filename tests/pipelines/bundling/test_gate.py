from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from delineate.pipelines.bundling import gate
from delineate.pipelines.bundling.bundles import change_bundle, choices, new_bundle, part_file, shipped_bundles
from delineate.pipelines.bundling.gate import UnverifiedError, admit, bundle_in_use, in_use
from delineate.pipelines.cli import app
from delineate.pipelines.core.sums import write_sums

CODE = "$open('M', 'w').close()"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home/delineate/verified"


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_bundle(tmp_path_factory.mktemp("bundles") / "good", "skin_lesion")


@pytest.fixture
def bundle(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "bundle"))


@pytest.fixture
def hostile(bundle: Path) -> Path:
    change_bundle(bundle, {"threshold": CODE})
    return bundle


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The bundles that were verified, not remembered."""
    verified: list[Path] = []
    original = gate.verify_bundle

    def verify(folder: Path, shipping: bool = True) -> list[gate.Finding]:
        verified.append(folder)
        return original(folder, shipping)

    monkeypatch.setattr(gate, "verify_bundle", verify)
    return verified


def test_a_shipped_bundle_is_not_verified(counted: list[Path]) -> None:
    assert all(admit(name).shipped for name in shipped_bundles())
    assert counted == []


def test_a_copy_of_a_shipped_bundle_is_verified(bundle: Path, counted: list[Path]) -> None:
    assert not admit(bundle).shipped
    assert counted == [bundle]


def test_a_finding_stops_it_with_the_place_and_the_remedy(hostile: Path) -> None:
    with pytest.raises(UnverifiedError) as seen:
        admit(hostile)
    line = 1 + next(
        i for i, text in enumerate((hostile / "configs/train.yaml").read_text().splitlines()) if CODE in text
    )
    assert f"configs/train.yaml:{line}: expression: {CODE}: calls the method" in str(seen.value)
    assert "--trust" in str(seen.value)


def test_trust_is_not_promised_where_it_does_not_help(bundle: Path) -> None:
    """Weights that are not as listed are refused when they are loaded, whoever trusts the bundle."""
    (bundle / "models").mkdir()
    torch.save({}, bundle / "models/model.pt")
    write_sums(bundle / "models", ["model.pt"])
    torch.save({"a": torch.zeros(1)}, bundle / "models/model.pt")
    with pytest.raises(UnverifiedError, match="another SHA-256 than listed") as seen:
        admit(bundle)
    assert "--trust does not help" in str(seen.value)
    assert "it is used" not in str(seen.value)


def test_what_was_let_in_is_not_looked_at_again(hostile: Path, counted: list[Path]) -> None:
    admission = admit(hostile, trust=True)
    assert admit(admission) is admission
    assert counted == [hostile]


def test_of_many_findings_the_first_are_listed(bundle: Path) -> None:
    for number in range(30):
        (bundle / f"x{number:02}.py").touch()
    with pytest.raises(UnverifiedError, match=r"x09\.py.*\n  \.\.\. and 20 more: delineate bundle verify") as seen:
        admit(bundle)
    assert "x10.py" not in str(seen.value)


def test_trust_lets_it_in_and_is_recorded(hostile: Path) -> None:
    admission = admit(hostile, trust=True)
    assert admission.trusted
    with in_use(admission):
        record = bundle_in_use()
    assert record is not None
    assert record["trusted"] is True
    assert "calls the method" in record["findings"][0]


def test_trust_in_a_bundle_that_passes_is_not_recorded(bundle: Path) -> None:
    assert not admit(bundle, trust=True).trusted


def test_outside_of_a_workflow_no_bundle_is_in_use(bundle: Path) -> None:
    with in_use(admit(bundle)):
        assert bundle_in_use()
    assert bundle_in_use() is None


# --- what is remembered -------------------------------------------------------------------------------------


def test_what_passed_is_not_verified_again_wherever_it_lies(bundle: Path, tmp_path: Path, counted: list[Path]) -> None:
    for folder in (bundle, bundle, Path(shutil.copytree(bundle, tmp_path / "elsewhere"))):
        admit(folder)
    assert counted == [bundle]


@pytest.mark.parametrize("name", ["configs/train.yaml", "configs/logging.conf", "docs/README.md", "x.yaml", "y.py"])
def test_what_changed_is_verified_again(bundle: Path, counted: list[Path], name: str) -> None:
    admit(bundle)
    with (bundle / name).open("a") as file:
        file.write("# more\n")
    admit(bundle, trust=True)
    assert counted == [bundle, bundle]


def test_other_rules_verify_again(bundle: Path, counted: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    admit(bundle)
    monkeypatch.setattr(gate, "_rules", lambda: "others")
    admit(bundle)
    assert counted == [bundle, bundle]


def test_what_is_refused_is_never_remembered(hostile: Path, counted: list[Path]) -> None:
    admit(hostile, trust=True)
    with pytest.raises(UnverifiedError):
        admit(hostile)
    assert counted == [hostile, hostile]


def test_a_memory_that_cannot_be_written_is_no_error(bundle: Path, memory: Path, counted: list[Path]) -> None:
    memory.parent.parent.write_text("a file, not a folder")
    assert [admit(bundle).trusted for _ in range(2)] == [False, False]
    assert counted == [bundle, bundle]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="there are no owners of files here")
def test_a_memory_that_others_may_write_to_tells_nothing(bundle: Path, memory: Path, counted: list[Path]) -> None:
    admit(bundle)
    memory.chmod(0o777)
    admit(bundle)
    assert counted == [bundle, bundle]


def test_the_memory_has_an_end(bundle: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_REMEMBERED", 2)
    for number in range(4):
        (bundle / "docs/README.md").write_text(str(number))
        admit(bundle)
    assert len(list(memory.iterdir())) == 2


def test_the_hash_names_configuration_and_weights_and_nothing_else(bundle: Path) -> None:
    before = admit(bundle).hash
    (bundle / "logs").mkdir()
    (bundle / "logs/history.csv").write_text("epoch\n")
    assert admit(bundle).hash == before
    with (bundle / "configs/evaluate.yaml").open("a") as file:
        file.write("# more\n")
    assert admit(bundle).hash != before


# --- runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", choices("networks"))
def test_a_run_with_any_network_passes(tmp_path: Path, network: str) -> None:
    bundle = new_bundle(tmp_path / "bundle", "breast_lesion", network)
    assert not admit(bundle).findings


@pytest.mark.parametrize("loss", choices("losses"))
def test_a_run_with_other_settings_and_any_loss_passes(bundle: Path, loss: str) -> None:
    change_bundle(bundle, {"max_epochs": 3, "learning_rate": 0.01, "image_size": [64, 64]}, [part_file("losses", loss)])
    assert not admit(bundle).findings


def test_what_a_run_gathers_does_not_make_it_fail(bundle: Path) -> None:
    left = (
        *("logs/record.json", "logs/history.csv", "logs/train.log", "logs/events.out.tfevents.1.host.2.0"),
        *("evaluation/metrics.json", "evaluation/per_image.csv", "evaluation/compare.json", "cache/abc/0.item"),
        *("masks/a_mask.png", "masks/b_mask.nii.gz", "masks/c_mask.nrrd", "masks/d.mha", "masks/a_overlay.png"),
        *("checkpoints/training.lock", "checkpoints/last.pt", "checkpoints/SHA256SUMS"),
        *("masks/results.csv", "logs/.0123456789abcdef0123456789abcdef.tmp"),
    )
    for name in left:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(b"1")
    assert not admit(bundle).findings


# --- every command ------------------------------------------------------------------------------------------

COMMANDS = {
    "train": ["train", "BUNDLE", "--data", "DATA", "--out", "OUT"],
    "tune": ["tune", "BUNDLE"],
    "train --resume": ["train", "skin_lesion", "--data", "DATA", "--out", "BUNDLE", "--resume"],
    "cross-validate": ["cross-validate", "BUNDLE", "--data", "DATA", "--out", "OUT"],
    "compare": ["compare", "BUNDLE", "--data", "DATA", "--out", "OUT", "--networks", "unet", "--minutes", "1"],
    "compare --on": ["compare", "BUNDLE", "skin_lesion", "--on", "DATA", "--out", "OUT"],
    "evaluate": ["evaluate", "BUNDLE", "--data", "DATA", "--out", "OUT"],
    "segment": ["segment", "BUNDLE", "image.png", "--out", "OUT"],
    "export": ["export", "BUNDLE", "--out", "OUT"],
}


def words(command: list[str], bundle: Path, folder: Path) -> list[str]:
    data = folder / "data"
    data.mkdir()
    (data / "datalist.json").write_text(json.dumps({"training": [], "validation": [], "test": []}))
    there = {"BUNDLE": str(bundle), "DATA": str(data), "OUT": str(folder / "out")}
    return [there.get(word, word) for word in command]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_command_uses_a_bundle_that_is_refused(
    hostile: Path, tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words(command, hostile, tmp_path))
    assert isinstance(done.exception, UnverifiedError)
    assert not (tmp_path / "M").exists()
    assert not (tmp_path / "out").exists()


def test_the_python_interface_does_not_use_it_either(hostile: Path) -> None:
    from delineate.pipelines.inference.segmenter import Segmenter

    with pytest.raises(UnverifiedError):
        Segmenter(hostile)


def test_every_command_that_takes_a_bundle_is_in_this_table() -> None:
    import typer.main

    group = typer.main.get_command(app)
    taking = {
        name for name, command in group.commands.items() if any(p.name in ("bundle", "bundles") for p in command.params)
    }  # type: ignore[attr-defined]
    assert taking == {command[0] for command in COMMANDS.values()}


def test_a_run_is_named_in_its_records(bundle: Path, tmp_path: Path) -> None:
    from delineate.pipelines.bundling.provenance import provenance

    (tmp_path / "datalist.json").write_text(json.dumps({"training": [], "validation": [], "test": []}))
    admission = admit(bundle)
    with in_use(admission):
        assert provenance(tmp_path)["bundle"] == {"hash": admission.hash, "trusted": False, "findings": []}


# --- the hole: metadata, a key that looks like a file, a relative macro --------------------------------------


def with_hole(bundle: Path) -> Path:
    path = bundle / "configs/metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "docs/x.json": {"a": "%::b"}}))
    (bundle / "_meta_::docs").mkdir()
    (bundle / "_meta_::docs/x.json").write_text(json.dumps({"b": CODE}))
    for path in (bundle / "configs").glob("*.yaml"):
        config = yaml.safe_load(path.read_text()) | {"_meta_": {}, "device": "$torch.device('cpu') if [@_meta_] else 1"}
        path.write_text(yaml.safe_dump(config, sort_keys=False))
    return bundle


def test_monai_itself_runs_code_that_metadata_bring_in(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why the rule is there: when MONAI no longer does, this fails, and the rule may go."""
    from monai.bundle import ConfigParser

    monkeypatch.chdir(with_hole(bundle))
    parser = ConfigParser()
    parser.read_config("configs/inference.yaml")
    parser.read_meta("configs/metadata.json")
    parser.get_parsed_content("device")
    assert (bundle / "M").exists()


def test_metadata_bring_no_code_in(bundle: Path) -> None:
    rules = {(finding.file, finding.rule) for finding in admit(with_hole(bundle), trust=True).findings}
    assert {("configs/metadata.json", "expression"), ("configs/metadata.json", "ids")} <= rules
    assert ("configs/inference.yaml", "ids") in rules
