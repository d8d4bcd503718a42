from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.files import (
    cache_folder,
    hold,
    let_go,
    put_in_place,
    remove_leftovers,
    replacing,
    write_atomically,
)


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError("disk on fire")

    file = tmp_path / "a"
    file.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="on fire"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append((os.pread(file, 9, 0), (tmp_path / "a").exists())))
    write_atomically(tmp_path / "a", b"new")
    assert seen == [(b"new", False)]


# --- what killed processes leave -----------------------------------------------------------------------------


def killed_while(code: str, folder: Path) -> None:
    """Run ``code`` in ``folder`` in a process that is then killed."""
    die = "\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code + die], cwd=folder, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


WRITING = """
from delineate.pipelines.core.files import *
writing = replacing('a.png')
writing.__enter__().write_bytes(b'half')
"""


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    killed_while(WRITING, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.png") as temporary:
        temporary.write_bytes(b"whole")
        code = "from delineate.pipelines.core.files import remove_leftovers; remove_leftovers('.')"
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    killed_while("from delineate.pipelines.core.files import *\nassert hold('lock')", tmp_path)
    assert hold(tmp_path / "lock")
    code = "from delineate.pipelines.core.files import hold; print(hold('lock'))"
    ask = [sys.executable, "-c", code]
    assert subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "False\n"
    assert hold(tmp_path / "lock"), "its own process may take it again"
    let_go(tmp_path / "lock")
    assert subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "True\n"


def tree(folder: Path) -> dict[str, str]:
    return {one.relative_to(folder).as_posix(): one.read_text() for one in folder.rglob("*") if one.is_file()}


@pytest.fixture
def drafted(tmp_path: Path) -> tuple[Path, Path]:
    """A draft and the folder that it is for, which has one part of it, and others."""
    names = {"temporary/draft": ("models/model.pt", "logs/seen.json"), "folder": ("models/model.pt", "logs/train.log")}
    for folder, files in names.items():
        for name in files:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text(f"{folder}: {name}")
    return tmp_path / "temporary" / "draft", tmp_path / "folder"


def test_parts_of_a_draft_take_the_place_of_those_there(drafted: tuple[Path, Path]) -> None:
    draft, folder = drafted
    put_in_place(draft, folder, ["models", "logs/seen.json"])
    assert tree(folder) == {
        "models/model.pt": "temporary/draft: models/model.pt",
        "logs/seen.json": "temporary/draft: logs/seen.json",
        "logs/train.log": "folder: logs/train.log",
    }


@pytest.mark.parametrize("done", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_ctrl_c_at_any_step_leaves_a_folder_as_it_was(
    drafted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, number: int, done: bool
) -> None:
    draft, folder = drafted
    before, rename, calls = tree(folder), Path.rename, []

    def interrupted(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) - 1 == number:
            if done:
                rename(self, target)
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put_in_place(draft, folder, ["models", "logs/seen.json"])
    assert tree(folder) == before


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", MagicMock(side_effect=RuntimeError("Could not determine home directory.")))
    with pytest.raises(DelineateError, match="no home folder; set XDG_CACHE_HOME"):
        cache_folder("graphs")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder("graphs") == Path("/somewhere/delineate/graphs")
