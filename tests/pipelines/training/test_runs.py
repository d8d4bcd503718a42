from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from delineate.pipelines.bundling.bundles import new_bundle, part_file, shipped_bundles
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.files import hold, let_go
from delineate.pipelines.core.sums import write_sums
from delineate.pipelines.datasets.seen import SEEN, read_seen, write_seen
from delineate.pipelines.training import runs
from delineate.pipelines.training.runs import begin_run, check_resumable, parse_settings, remove_drafts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    begin_run(shipped_bundles()["skin_lesion"], tmp_path / "run", {"max_epochs": 7}, [part_file("networks", "unet")])
    return tmp_path / "run"


def test_a_run_is_resumed_without_settings(run: Path) -> None:
    check_resumable(run, {}, [])


def test_a_run_is_resumed_with_the_settings_it_was_begun_with(run: Path) -> None:
    check_resumable(run, {"max_epochs": 7}, [part_file("networks", "unet")])


@pytest.mark.parametrize(("values", "network"), [({"batch_size": 3}, "unet"), ({}, "ultra_light_unet")])
def test_a_run_is_not_resumed_with_other_settings(run: Path, values: dict[str, int], network: str) -> None:
    with pytest.raises(DelineateError, match="begun with other settings"):
        check_resumable(run, values, [part_file("networks", network)])


def test_checking_changes_nothing(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    check_resumable(run, {"max_epochs": 7}, [])
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="leave out --resume"):
        check_resumable(tmp_path, {}, [])


def test_settings_are_read_as_yaml() -> None:
    assert parse_settings(["a::b=[1, 2]", "c=null", "d=x=y"]) == {"a::b": [1, 2], "c": None, "d": "x=y"}


def test_more_epochs_extend_a_run(run: Path) -> None:
    assert check_resumable(run, {"max_epochs": 8}, [part_file("networks", "unet")]) == 8
    assert check_resumable(run, {"max_epochs": 7}, [part_file("networks", "unet")]) is None


def test_numbers_are_read_as_people_write_them() -> None:
    text = ["a=1e-3", "b=-2E5", "c=[1.e+3, .5e-2]", "d='1e-3'", "e=1e", "f=0.1", "g=12"]
    expected = {"a": 1e-3, "b": -2e5, "c": [1e3, 0.5e-2], "d": "1e-3", "e": "1e", "f": 0.1, "g": 12}
    assert parse_settings(text) == expected


def test_small_numbers_are_written_as_monai_reads_them(tmp_path: Path) -> None:
    values = {"learning_rate": 1e-05, "slicing": {"window": [1e-07, 2.5e-12, 3]}, "epoch_length": None}
    begin_run(shipped_bundles()["skin_lesion"], tmp_path / "run", values, [])
    read = yaml.safe_load((tmp_path / "run/configs/train.yaml").read_text())
    assert {name: read[name] for name in values} == values


BEGIN = """
import os, signal, sys
from pathlib import Path
from delineate.pipelines.training import runs
if sys.argv[2] == "die":
    runs._put_in_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
runs.begin_run(Path(sys.argv[1]), Path("run"), {}, [])
"""


def test_what_a_killed_beginning_left_is_removed_by_the_next(tmp_path: Path) -> None:
    source = shipped_bundles()["skin_lesion"]
    killed = subprocess.run([sys.executable, "-c", BEGIN, source, "die"], cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name[:11] for path in tmp_path.iterdir()] == [".delineate."]
    begin_run(source, tmp_path / "run", {}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["LICENSE", "configs", "docs"]


def test_the_beginning_of_a_living_process_stays(tmp_path: Path) -> None:
    draft = tmp_path / ".delineate.abc"
    draft.mkdir()
    assert hold(draft / "training.lock")
    code = "from delineate.pipelines.training.runs import Path, remove_drafts; remove_drafts(Path('.'))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert draft.is_dir()
    let_go(draft / "training.lock")
    remove_drafts(tmp_path)
    assert not draft.exists()


@pytest.mark.parametrize("was_there", [True, False])
def test_of_two_beginnings_in_one_folder_one_is_refused(
    tmp_path: Path, was_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, run, put = shipped_bundles()["skin_lesion"], tmp_path / "run", runs._put_in_place

    def put_second(draft: Path, place: Path) -> None:
        monkeypatch.setattr(runs, "_put_in_place", put)
        begin_run(source, run, {"max_epochs": 3}, [])  # another process is quicker
        put(draft, place)

    if was_there:
        run.mkdir()
    monkeypatch.setattr(runs, "_put_in_place", put_second)
    with pytest.raises(DelineateError, match="there already"):
        begin_run(source, run, {"max_epochs": 5}, [])
    assert yaml.safe_load((run / "configs/train.yaml").read_text())["max_epochs"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("setting", ["max_epochs", "=3", "a={"])
def test_a_setting_of_another_form_is_refused(setting: str) -> None:
    with pytest.raises(DelineateError, match="--set"):
        parse_settings([setting])


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with weights that is known by the name ``mine``."""
    folder = new_bundle(tmp_path / "bundle", "skin_lesion")
    (folder / "models").mkdir()
    torch.save({"weight": torch.zeros(2)}, folder / "models" / "model.pt")
    write_sums(folder / "models", ["model.pt"])
    write_seen(folder / SEEN, ["one", "two"])
    monkeypatch.setattr(runs, "shipped_bundles", lambda: {"mine": folder})
    return folder


def test_a_training_does_not_begin_with_a_bundles_weights_unless_it_is_asked_to(shipped: Path, tmp_path: Path) -> None:
    begin_run(shipped, tmp_path / "run", {}, [])
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"LICENSE", "configs", "docs"}


@pytest.mark.parametrize("name", ["mine", "bundle", "bundle/models/model.pt"])
def test_a_training_that_begins_with_weights_has_seen_what_they_have(shipped: Path, tmp_path: Path, name: str) -> None:
    begin_run(shipped, tmp_path / "run", {}, [], Path(name) if name == "mine" else tmp_path / name)
    assert (tmp_path / "run/checkpoints/initial.pt").read_bytes() == (shipped / "models/model.pt").read_bytes()
    assert read_seen(tmp_path / "run" / SEEN) == {"one", "two"}
