"""Trainings in two processes, which exchange tensors by gloo."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import Done, delineate, inside, refusal, start, succeeded

from delineate.pipelines.bundling.verify.bundle import verify_bundle
from delineate.pipelines.core.errors import DelineateError, WrongValueError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.phantoms.images import write_phantoms
from delineate.pipelines.training import distributed
from delineate.pipelines.training.distributed import join_processes, own_batch_size
from delineate.pipelines.training.peers import _free_port, refuse_too_many

SMALL = {  # without batch normalisation, whose statistics are those of a process's share
    "network_def::features": "[4,4,4,4,8,4]",
    "image_size": "[32,32]",
    "max_epochs": "3",
    "batch_size": "4",
    "precision": "float32",
}
NETWORK = ("--network", "monai.BasicUNet")
SETTINGS = tuple(word for name, value in SMALL.items() for word in ("--set", f"{name}={value}"))
TWO = ("--processes", "2")
CONFIGS = "['configs/train.yaml','configs/multi_gpu_train.yaml']"


def trained(folder: Path, run: str, *words: str) -> Done:
    return delineate("train", "skin_lesion", "--data", "dataset", "--out", run, *words, cwd=folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``dataset`` of 12 training and 3 validation images, and runs by ``one`` process and by ``two``."""
    folder = tmp_path_factory.mktemp("place")
    write_phantoms(folder / "dataset", 17)
    index_dataset(folder / "dataset", out=folder / "dataset")
    succeeded(trained(folder, "one", *NETWORK, *SETTINGS))
    done = succeeded(trained(folder, "two", *NETWORK, *SETTINGS, *TWO))
    (folder / "printed").write_text(done.stdout)
    assert done.stderr == ""
    return folder


def history(run: Path) -> list[dict[str, float]]:
    with (run / "logs" / "history.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


def state(run: Path, name: str = "checkpoints/last.pt") -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / name, weights_only=True)
    return loaded


def files(run: Path) -> list[str]:
    """All but the pictures, which are of the first process's images."""
    named = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    return ["events" if "tfevents" in name else name for name in named if "case_" not in name]


def test_two_processes_learn_as_one(place: Path) -> None:
    one, two = history(place / "one"), history(place / "two")
    assert len(two) == 3
    for alone, shared in zip(one, two, strict=True):
        assert shared == pytest.approx(alone, rel=1e-5, abs=1e-6)


def test_two_processes_leave_the_files_of_one(place: Path) -> None:
    assert files(place / "two") == files(place / "one")
    assert state(place / "two")["network"].keys() == state(place / "one")["network"].keys()
    assert verify_bundle(place / "two") == []


def test_each_line_is_said_once_and_the_record_counts_the_processes(place: Path) -> None:
    lines = (place / "printed").read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["1/3", "2/3", "3/3"]
    (session,) = json.loads((place / "two/logs/record.json").read_text())["sessions"]
    assert session["processes"] == 2
    assert session["completed"] is True


def test_the_printed_line_is_that_of_torchrun(place: Path) -> None:
    printed = (place / "printed").read_text()
    files = '["two/configs/train.yaml", "two/configs/multi_gpu_train.yaml"]'
    assert f"torchrun --standalone --nproc_per_node=2 -m monai.bundle run --config_file '{files}' " in printed


def test_two_processes_that_are_resumed_end_in_the_same_bits(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "place")
    (tmp_path / "place/two/checkpoints/last.pt").unlink()  # as if killed in the last epoch
    succeeded(trained(tmp_path / "place", "two", "--resume", *TWO))
    resumed, unbroken = (state(folder / "two") for folder in (tmp_path / "place", place))
    assert resumed["epoch"] == 3
    assert all(torch.equal(resumed["network"][name], value) for name, value in unbroken["network"].items())


@pytest.mark.parametrize(("begun", "words"), [("two", ()), ("one", TWO)], ids=["by one", "by two"])
def test_a_run_of_another_number_of_processes_is_resumed(
    place: Path, tmp_path: Path, begun: str, words: tuple[str, ...]
) -> None:
    shutil.copytree(place, tmp_path / "place")
    (tmp_path / "place" / begun / "checkpoints/last.pt").unlink()
    done = succeeded(trained(tmp_path / "place", begun, "--resume", *words))
    assert re.search(r"resumed from \S+ after epoch [12]\b", done.stdout + done.stderr)
    resumed, unbroken = (history(folder / begun) for folder in (tmp_path / "place", place))
    assert len(resumed) == 3
    for now, before in zip(resumed, unbroken, strict=True):
        assert now == pytest.approx(before, rel=1e-5, abs=1e-6)


def test_stock_monai_trains_a_bundle_in_processes_that_torchrun_starts(place: Path, tmp_path: Path) -> None:
    begun = shutil.ignore_patterns("models", "checkpoints", "logs", "report.html")
    shutil.copytree(place / "two", tmp_path / "run", ignore=begun)
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    words = ("--config_file", CONFIGS, "--dataset_dir", str(place / "dataset"))
    ranks = [
        start("python", "-m", "monai.bundle", "run", *words, cwd=tmp_path / "run", log=tmp_path / f"log{number}",
              env={**shared, "RANK": str(number), "LOCAL_RANK": str(number)})
        for number in range(2)
    ]  # fmt: skip
    for process in ranks:
        process.join(100)
    assert [process.exitcode for process in ranks] == [0, 0], (tmp_path / "log1").read_text()
    assert history(tmp_path / "run") == history(place / "two")
    assert "epoch 1/3" in (tmp_path / "log0").read_text()
    assert "epoch 1/3" not in (tmp_path / "log1").read_text()


def test_what_ends_one_process_ends_all_and_leaves_no_run(place: Path) -> None:
    wild = trained(place, "wild", *NETWORK, *SETTINGS, "--set", "learning_rate=1e30", *TWO)
    assert "lower learning_rate" in refusal(wild)
    assert not (place / "wild").exists()


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "process_count", lambda: 3)
    assert own_batch_size(6) == 2
    with pytest.raises(WrongValueError, match="batch_size is 8, for 3 processes; set a multiple of 3"):
        own_batch_size(8)


@pytest.mark.parametrize("count", [0, 4])
def test_more_processes_than_validation_images_are_refused(place: Path, count: int) -> None:
    with pytest.raises(DelineateError, match=f"--processes is {count}, and there are 3 validation images; take 1 to 3"):
        refuse_too_many(count, place / "dataset", None)


def test_a_process_that_nobody_started_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(DelineateError, match=r"start them by torchrun --standalone --nproc_per_node=2 -m monai\."):
        join_processes("cpu")


def test_a_run_without_the_overlay_is_not_shared(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "one", tmp_path / "run")
    (tmp_path / "run/configs/multi_gpu_train.yaml").unlink()
    done = inside("train", tmp_path / "run", "--data", place / "dataset", "--out", tmp_path / "other", *TWO)
    assert "was made before there was --processes" in refusal(done)
