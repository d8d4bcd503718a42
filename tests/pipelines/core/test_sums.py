from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from delineate.pipelines.core.files import remove_leftovers
from delineate.pipelines.core.sums import check_sums, settle_sums, sum_problems, write_sums


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "model.onnx").write_bytes(b"graph")
    write_sums(tmp_path, ["model.pt", "model.onnx"])
    return tmp_path


def test_written_sums_pass(models: Path) -> None:
    assert check_sums(models) == []


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils' sha256sum is not installed")
def test_coreutils_reads_the_file(models: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=models, capture_output=True)
    assert done.returncode == 0


def test_changed_weights_are_reported_with_their_line(models: Path) -> None:
    (models / "model.pt").write_bytes(b"other")
    [(line, problem)] = sum_problems(models)
    assert line == 2
    assert "model.pt has another SHA-256" in problem


def test_missing_weights_are_reported(models: Path) -> None:
    (models / "model.onnx").unlink()
    assert "model.onnx is listed but missing" in check_sums(models)[0]


@pytest.mark.parametrize("name", ["model.pt", "model.ts", "best.pt", "deep/model.pt"])
def test_unlisted_weights_are_reported(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"weights")
    assert f"{name} is not listed" in check_sums(tmp_path)[0]


@pytest.mark.parametrize("name", ["last.pt", "epoch_0020.pt", "checkpoint_epoch=5.pt"])
def test_checkpoints_of_a_training_need_not_be_listed(models: Path, name: str) -> None:
    (models / name).write_bytes(b"state")
    assert check_sums(models) == []


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a\\b"])
def test_an_entry_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    assert "leads out of models/" in check_sums(tmp_path)[0]


@pytest.mark.parametrize("text", ["nonsense", "abc  model.pt", "0" * 64])
def test_a_line_that_is_no_sum_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "SHA256SUMS").write_text(text)
    assert "not a line of sha256sum" in check_sums(tmp_path)[0]


def test_a_file_listed_twice_is_refused(models: Path) -> None:
    sums = models / "SHA256SUMS"
    sums.write_text(sums.read_text() * 2)
    assert "listed twice" in check_sums(models)[0]


def test_no_weights_and_no_folder_are_fine(tmp_path: Path) -> None:
    assert check_sums(tmp_path / "models") == []


def test_sums_are_lost_to_nobody_when_a_file_is_missing(models: Path) -> None:
    before = (models / "SHA256SUMS").read_bytes()
    with pytest.raises(OSError, match=r"gone\.pt"):
        write_sums(models, ["gone.pt"])
    assert (models / "SHA256SUMS").read_bytes() == before
    assert sorted(path.name for path in models.iterdir()) == ["SHA256SUMS", "model.onnx", "model.pt"]


# --- killed while file and list change -----------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from delineate.pipelines.core import sums
folder, step = Path(sys.argv[1]), int(sys.argv[2])
replace, done = os.replace, 0

def replace_and_die(old, new):
    global done
    for _ in (0, 1):
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        if old is not None:
            replace(old, new)
            old = None

os.replace = replace_and_die
with sums.replacing_listed(folder / "model.pt") as path:
    path.write_bytes(b"new weights")
    sums.move_listed(folder / "model.pt", folder / "previous.pt")
print(done)
"""


def write_new(folder: Path, step: int) -> subprocess.CompletedProcess[bytes]:
    """Replace ``model.pt``, keeping it as ``previous.pt``, killed at ``step``."""
    return subprocess.run([sys.executable, "-c", KILLED, folder, str(step)], capture_output=True)


def test_killed_at_any_step_there_is_a_listed_file_and_no_wrong_one(models: Path, tmp_path: Path) -> None:
    for step in range(12):
        folder = tmp_path / f"killed_{step}"
        folder.mkdir()
        (folder / "model.pt").write_bytes(b"weights")
        write_sums(folder, ["model.pt"])
        assert write_new(folder, step).returncode == -signal.SIGKILL
        found = [path.name for path in folder.glob("*.pt")]
        assert found
        assert check_sums(folder, found) == []
        settle_sums(folder)
        remove_leftovers(folder)
        assert check_sums(folder) == []
        assert sorted(path.name for path in folder.iterdir()) == sorted([*found, "SHA256SUMS"])
    assert write_new(models, 99).stdout == b"12\n"
    assert (models / "previous.pt").read_bytes() == b"weights"
    assert check_sums(models, ["model.pt", "previous.pt"]) == []


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils' sha256sum is not installed")
def test_coreutils_passes_over_the_hash_that_comes_next(models: Path) -> None:
    with (models / "SHA256SUMS").open("a") as sums:
        sums.write(f"# next: {'0' * 64}  model.pt\n")
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=models, capture_output=True)
    assert done.returncode == 0


def test_neither_the_hash_listed_nor_the_next_is_refused(models: Path) -> None:
    with (models / "SHA256SUMS").open("a") as sums:
        sums.write(f"# next: {'0' * 64}  model.pt\n")
    (models / "model.pt").write_bytes(b"other")
    assert "another SHA-256" in check_sums(models)[0]
