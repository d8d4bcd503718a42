"""Several runs as one bundle."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ensembles import random_bundle, write_weights

from delineate.networks import create_network
from delineate.pipelines.bundling.bundles import change_bundle, part_file
from delineate.pipelines.bundling.ensemble import make_ensemble, refuse_training
from delineate.pipelines.bundling.gate import UnverifiedError, admit
from delineate.pipelines.bundling.settings import workflow_config
from delineate.pipelines.bundling.several import admitted
from delineate.pipelines.bundling.verify import verify_bundle
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles; the last is of another architecture, the first has a record."""
    folder = tmp_path_factory.mktemp("members")
    found = [random_bundle(folder / name, seed) for seed, name in enumerate(("one", "two", "three"))]
    change_bundle(found[2], {"network_def::features": [8, 16]}, [part_file("networks", "cmunext")])
    arguments = {"features": (8, 8, 16), "depths": (1, 1, 1), "kernel_sizes": (3, 3, 5)}
    change_bundle(found[2], {f"network_def::{name}": [*value] for name, value in arguments.items()})
    write_weights(found[2], create_network("cmunext", in_channels=1, out_channels=1, **arguments))
    (found[0] / "logs").mkdir()
    session = {"command": ["secret"], "data_hash": "abc", "epochs": 3, "settings": {"fold": 0, "seed": 7}}
    (found[0] / "logs" / "record.json").write_text(json.dumps({"sessions": [{}, session]}))
    return found


@pytest.fixture(scope="module")
def ensemble(members: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ensemble(members, tmp_path_factory.mktemp("ensembles") / "three")


def variant(members: list[Path], folder: Path, **settings: Any) -> Path:
    """The second member, changed."""
    shutil.copytree(members[1], folder / "changed")
    change_bundle(folder / "changed", settings)
    return folder / "changed"


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 51), dtype=np.uint8)


def test_an_ensemble_is_a_bundle_that_passes_verification(ensemble: Path) -> None:
    assert verify_bundle(ensemble) == []


def test_its_probabilities_are_the_mean_of_its_members(members: list[Path], ensemble: Path) -> None:
    found, *each = (
        next(iter(Segmenter(bundle, device="cpu", precision="float32").segment(photo()))).probability
        for bundle in (ensemble, *members)
    )
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=2e-6)
    assert np.abs(found - each[0]).max() > 0.05


def test_its_metadata_name_the_members(members: list[Path], ensemble: Path) -> None:
    told = json.loads((ensemble / "configs" / "metadata.json").read_text())
    assert told["name"] == "Nerve in ultrasound, ensemble of 3"
    assert [one["name"] for one in told["members"]] == ["one", "two", "three"]
    assert [one["hash"] for one in told["members"]] == [admit(member).hash for member in members]
    assert told["members"][2]["network"] == "delineate.networks.CMUNeXt"
    assert told["members"][0]["record"] == {"data_hash": "abc", "epochs": 3, "settings": {"fold": 0, "seed": 7}}
    assert told["members"][1]["record"] is None


def test_the_same_members_make_the_same_ensemble(members: list[Path], ensemble: Path, tmp_path: Path) -> None:
    assert admit(make_ensemble(members, tmp_path / "again")).hash == admit(ensemble).hash


def test_its_documents_say_what_it_is(ensemble: Path) -> None:
    title, _, text, *_ = (ensemble / "docs" / "README.md").read_text().splitlines()
    assert title.startswith("# ")
    assert text.startswith("**An ensemble** of 3 networks")


def test_each_workflow_has_the_network_in_lines_that_a_person_can_read(ensemble: Path) -> None:
    networks = [workflow_config(ensemble, name)["network_def"] for name in ("train", "evaluate", "inference")]
    assert networks[0] == networks[1] == networks[2]
    assert max(map(len, (ensemble / "configs" / "inference.yaml").read_text().splitlines())) < 300


def test_its_training_begins_with_a_refusal(ensemble: Path) -> None:
    first, *others = workflow_config(ensemble, "train")["initialize"]
    assert first == {"_target_": "delineate.pipelines.bundling.refuse_training"}
    assert others
    with pytest.raises(DelineateError, match="an ensemble is not trained: train its members"):
        refuse_training()


@pytest.mark.parametrize(
    ("id_", "value", "shown"),
    [
        ("image_size", [48, 32], "image_size::0 is 32 in FIRST and 48 in OTHER"),
        ("window", [16, 16], "window::0 is 32 in FIRST and 16 in OTHER"),
        ("channels", "rgb", "channels is 'grey' in FIRST and 'rgb' in OTHER"),
        ("slicing::window", "abdomen", "slicing::window is 'auto' in FIRST and 'abdomen' in OTHER"),
        ("structures::0::name", "vein", "structures::0::name is 'nerve' in FIRST and 'vein' in OTHER"),
        ("to_network::0::a_max", 127, "to_network::0::a_max is 255 in FIRST and 127 in OTHER"),
        ("inferer::inferer::overlap", 0.5, "inferer::inferer::overlap is 0.25 in FIRST and 0.5 in OTHER"),
        ("threshold", 0.3, "threshold is 0.5 in FIRST and 0.3 in OTHER; choose one for the ensemble with --threshold"),
    ],
)
def test_runs_that_prepare_images_differently_are_refused_with_both_values(
    members: list[Path], tmp_path: Path, id_: str, value: Any, shown: str
) -> None:
    other = variant(members, tmp_path, **{id_: value})
    message = shown.replace("FIRST", str(members[0])).replace("OTHER", str(other))
    with pytest.raises(DelineateError, match=re.escape(message)):
        make_ensemble([members[0], other], tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed"]


def test_other_thresholds_are_no_matter_where_one_is_chosen(members: list[Path], tmp_path: Path) -> None:
    other = variant(members, tmp_path, threshold=0.3)
    made = make_ensemble([members[0], other], tmp_path / "made", threshold=0.4)
    assert workflow_config(made, "inference")["threshold"] == workflow_config(made, "evaluate")["threshold"] == 0.4


def test_a_network_that_refers_to_what_the_first_has_not_is_refused(members: list[Path], tmp_path: Path) -> None:
    other = variant(members, tmp_path, **{"network_def::features": "@widths"})
    for path in (other / "configs").glob("*.yaml"):
        path.write_text(path.read_text() + "widths: [8, 8, 16]\n")
    with pytest.raises(DelineateError, match=r"member 2 refers to widths, which is \[8, 8, 16\] there and missing"):
        make_ensemble([members[0], other], tmp_path / "made")


def test_a_member_that_does_not_pass_the_gate_is_refused(members: list[Path], tmp_path: Path) -> None:
    other = variant(members, tmp_path)
    (other / "setup.py").write_text("")
    with pytest.raises(UnverifiedError, match=r"setup\.py"):
        make_ensemble([members[0], other], tmp_path / "made")


def test_what_is_trusted_is_marked(members: list[Path], tmp_path: Path) -> None:
    other = variant(members, tmp_path)
    (other / "setup.py").write_text("")
    made = make_ensemble([members[0], other], tmp_path / "made", trust=True)
    first, second = json.loads((made / "configs" / "metadata.json").read_text())["members"]
    assert ("trusted" in first, second["trusted"]) == (False, True)


def test_a_member_without_weights_is_refused(members: list[Path], tmp_path: Path) -> None:
    other = variant(members, tmp_path)
    shutil.rmtree(other / "models")
    with pytest.raises(DelineateError, match="has no weights"):
        make_ensemble([members[0], other], tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_weights_of_another_network_are_refused(members: list[Path], tmp_path: Path) -> None:
    other = variant(members, tmp_path)
    write_weights(other, create_network("ultra_light_unet", in_channels=1, features=(8, 16)))
    with pytest.raises(DelineateError, match="holds the weights of another network"):
        make_ensemble([members[0], other], tmp_path / "made")


def test_a_run_counts_once(members: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="named twice"):
        make_ensemble([members[0], members[0]], tmp_path / "made")
    shutil.copytree(members[0], tmp_path / "copy")
    with pytest.raises(DelineateError, match=f"copy is the same as {members[0]}"):
        make_ensemble([members[0], tmp_path / "copy"], tmp_path / "made")


def test_an_ensemble_is_no_member(members: list[Path], ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="is an ensemble itself; name its members instead: one, two, three"):
        make_ensemble([members[0], ensemble], tmp_path / "made")


def test_one_run_is_no_ensemble(members: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="two members or more, and 1 is named"):
        make_ensemble(members[:1], tmp_path / "made")


def test_a_folder_that_holds_something_is_refused(members: list[Path], tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.txt").touch()
    with pytest.raises(DelineateError, match="not empty"):
        make_ensemble(members, tmp_path / "made")


def test_several_are_let_in_as_an_ensemble_that_goes_again(members: list[Path], ensemble: Path) -> None:
    with admitted(members) as admission:
        assert admission.hash == admit(ensemble).hash
        folder = admission.folder
    assert not folder.exists()
    with admitted(str(ensemble)) as admission:
        assert admission.folder == ensemble
    assert ensemble.exists()


def test_torch_loads_its_weights_as_plain_tensors(ensemble: Path) -> None:
    state = torch.load(ensemble / "models" / "model.pt", weights_only=True)
    assert {name.split(".")[1] for name in state} == {"0", "1", "2"}
