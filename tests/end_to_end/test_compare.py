"""Networks compared by whole processes; one killed at any moment goes on to the same table."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import NO_PAGE, Done, delineate, inside, refusal, stop_when, succeeded
from slow_machine import slow_machine

pytestmark = pytest.mark.slow
SMALL = ("compare", "bundle", "--networks", "unet,ultra_light_unet", "--set", "image_size=[64,64]",
         "--set", "network_def::features=[8,16,32]", "--minutes", "1", "--out", "out")  # fmt: skip

STEPS = 24  # in a minute of a slow machine: four times six, and a validation


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "compare.csv").open(newline="") as file:
        return {row["network"]: row for row in csv.DictReader(file)}


def epochs(run: Path) -> int:
    history = run / "logs" / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.is_file() else 0


@pytest.fixture(scope="module")
def stopped(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A comparison, killed before its first network was begun, interrupted and killed while that trains, resumed."""
    folder = tmp_path_factory.mktemp("compare")
    out, begin = folder / "out", (*SMALL, "--data", dataset)
    here: Any = {"cwd": folder, "first": slow_machine}
    succeeded(inside("bundle", "new", "bundle", "--task", "skin_lesion", *NO_PAGE, cwd=folder))
    assert stop_when((out / "compare.json").is_file, signal.SIGKILL, *begin, **here) == -signal.SIGKILL
    assert stop_when(lambda: epochs(out / "unet") >= 1, signal.SIGINT, *begin, "--resume", **here) == 130
    before = epochs(out / "unet")
    more = (*begin, "--resume")
    assert stop_when(lambda: epochs(out / "unet") > before, signal.SIGKILL, *more, **here) == -signal.SIGKILL
    return folder, succeeded(delineate(*begin, "--resume", **here))


def test_the_table_has_all_networks(stopped: tuple[Path, Done]) -> None:
    folder, done = stopped
    table = rows(folder / "out")
    assert table.keys() == {"unet", "ultra_light_unet"}
    assert {row["images"] for row in table.values()} == {"3"}
    assert len({row["dataset_hash"] for row in table.values()}) == 1
    for row in table.values():
        assert 0 <= float(row["dice_low"]) <= float(row["dice"]) <= float(row["dice_high"]) <= 1
        assert int(row["steps"]) == STEPS
        assert float(row["latency_ms"]) > 0
    printed = [line.split("\t")[0] for line in done.stdout.splitlines() if line.count("\t") == 9]
    assert printed[0] == "network"
    assert printed[1:] == sorted(table, key=lambda name: -float(table[name]["dice"]))


def test_they_are_compared_in_pairs_with_pictures(stopped: tuple[Path, Done]) -> None:
    found = json.loads((stopped[0] / "out" / "comparison.json").read_text())
    assert [{row["a"], row["b"]} for row in found["comparisons"]] == [{"unet", "ultra_light_unet"}]
    assert found["notes"] == []
    assert found["comparisons"][0]["verdict"] in stopped[1].stdout


def test_a_stopped_training_ends_as_one_that_was_not(stopped: tuple[Path, Done], dataset: Path, tmp_path: Path) -> None:
    run = stopped[0] / "out" / "unet"
    again = tmp_path / "unet"
    shutil.copytree(run, again, ignore=shutil.ignore_patterns("models", "checkpoints", "logs", "evaluation", "cache"))
    succeeded(delineate("train", "skin_lesion", "--data", dataset, "--out", again, "--resume"))
    one, other = (torch.load(f / "checkpoints/last.pt", weights_only=True) for f in (run, again))
    assert all(torch.equal(one["network"][name], other["network"][name]) for name in other["network"])
    assert one["iteration"] == other["iteration"] == int(rows(run.parent)["unet"]["steps"])


def test_what_is_finished_is_kept(stopped: tuple[Path, Done], dataset: Path) -> None:
    out = stopped[0] / "out"
    before = {p: p.stat().st_mtime_ns for run in ("unet", "ultra_light_unet") for p in (out / run).rglob("*")}
    table = rows(out)
    succeeded(delineate(*SMALL, "--data", dataset, "--resume", cwd=out.parent))
    assert {p: p.stat().st_mtime_ns for run in ("unet", "ultra_light_unet") for p in (out / run).rglob("*")} == before
    assert rows(out) == table


def test_each_network_is_a_bundle(stopped: tuple[Path, Done]) -> None:
    assert "passes" in succeeded(inside("bundle", "verify", stopped[0] / "out" / "unet")).stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [((), "there already"), (("--resume", "--minutes", "2"), "begun with other minutes")],
    ids=["occupied", "other terms"],
)
def test_what_would_mix_two_comparisons_is_refused(
    more: tuple[str, ...], message: str, stopped: tuple[Path, Done], dataset: Path
) -> None:
    assert message in refusal(inside(*SMALL, "--data", dataset, *more, cwd=stopped[0]))
