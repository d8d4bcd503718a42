from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from receiving import Node, wait_for

from delineate.pipelines.node.receiving import watcher
from delineate.pipelines.node.receiving.watcher import SETTLED, Watcher


class Watched:
    """A node, a folder that it watches, and a clock."""

    def __init__(self, root: Path, **limits: int) -> None:
        self.folder = root / "in box"
        self.folder.mkdir()
        self.node = Node(root / "node", watch=(self.folder,), limits=limits)
        self.watcher = Watcher(self.node.config, self.node.queue, self.node.audit)
        self.now = 0.0

    def put(self, name: str, data: bytes = b"image") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def look(self, after: float = SETTLED) -> list[bytes]:
        """What the files hold that came when it looked, at once and after some seconds."""
        before = {arrival.file for arrival in self.node.queue.arrivals()}
        for seconds in (0, after):
            self.now += seconds
            self.watcher.look(self.now)
        return [path.read_bytes() for path in self.node.received() if path.name not in before]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_file_is_taken_once_and_moved_away(watched: Watched) -> None:
    path = watched.put("a.dcm")
    assert watched.look() == [b"image"]
    assert not path.exists()
    assert watched.look() == []
    assert watched.node.queue.arrivals()[0].peer == "folder in box"


def test_a_file_in_a_folder_below_is_taken_and_the_folder_stays(watched: Watched) -> None:
    path = watched.put("study/series/a")
    assert watched.look() == [b"image"]
    assert path.parent.is_dir()


def test_a_file_that_grows_is_left_until_it_rests(watched: Watched) -> None:
    path = watched.put("a.dcm", b"1")
    assert watched.look(SETTLED - 1) == []
    path.write_bytes(b"12")
    assert watched.look(SETTLED - 1) == []
    assert watched.look(1) == [b"12"]


def test_a_file_that_is_written_over_is_left_until_it_rests(watched: Watched) -> None:
    path = watched.put("a.dcm", b"1")
    assert watched.look(SETTLED - 1) == []
    path.write_bytes(b"2")
    os.utime(path, (1, 1))
    assert watched.look(SETTLED - 1) == []
    assert watched.look(1) == [b"2"]


NOT_MEANT = [".hidden", "a.tmp", "a.dcm.part", "a.PARTIAL", "a.filepart", "~lock", "a.dcm~", ".folder/a.dcm"]


def test_the_name_of_a_file_is_known_here_and_not_in_the_audit(watched: Watched) -> None:
    watched.put("knee\x1b.dcm")
    watched.look()
    (arrival,) = watched.node.queue.arrivals()
    assert arrival.name == r"knee\x1b.dcm"
    assert all("knee" not in str(event) for event in watched.node.events("image received"))


@pytest.mark.parametrize("name", NOT_MEANT)
def test_hidden_and_unfinished_files_are_left(watched: Watched, name: str) -> None:
    path = watched.put(name)
    assert watched.look() == []
    assert path.exists()


def test_an_empty_file_is_left_until_it_is_filled(watched: Watched) -> None:
    path = watched.put("a.dcm", b"")
    assert watched.look() == []
    path.write_bytes(b"image")
    assert watched.look() == [b"image"]


def test_links_are_not_followed(watched: Watched, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (watched.folder / "link").symlink_to(outside / "secret")
    (watched.folder / "folder").symlink_to(outside)
    assert watched.look() == []
    assert (outside / "secret").exists()


def test_what_is_no_file_is_left(watched: Watched) -> None:
    os.mkfifo(watched.folder / "pipe")
    assert watched.look() == []


def test_a_link_that_takes_the_place_of_a_file_is_put_back(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    path, replace = watched.put("a.dcm"), os.replace

    def late(source: Path, target: Path) -> None:
        monkeypatch.undo()
        path.unlink()
        path.symlink_to(tmp_path / "secret")
        replace(source, target)

    monkeypatch.setattr(watcher.os, "replace", late)
    assert watched.look() == []
    assert path.is_symlink()


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the folder lie on another file system."""
    monkeypatch.setattr(Watcher, "_is_near", lambda *_: False)


def test_a_file_on_another_disk_is_copied_then_removed(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch)
    path = watched.put("a.dcm", bytes(3 * 2**20))
    assert watched.look() == [bytes(3 * 2**20)]
    assert not path.exists()


def test_a_file_that_changes_while_it_is_copied_is_left(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch)
    path, copy = watched.put("a.dcm"), watcher.shutil.copyfileobj

    def late(source: object, target: object, length: int) -> None:
        with path.open("ab") as file:
            file.write(b" and more")
        copy(source, target, length)

    monkeypatch.setattr(watcher.shutil, "copyfileobj", late)
    assert watched.look() == []
    assert path.read_bytes() == b"image and more"
    monkeypatch.undo()
    elsewhere(monkeypatch)
    assert watched.look() == [b"image and more"]


def test_a_file_that_cannot_be_removed_is_taken_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch)
    path = watched.put("a.dcm")

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert watched.look() == [b"image"]
    assert watched.look() == []
    assert [event["reason"] for event in watched.node.events("file not taken")] == ["Permission denied"]
    assert path.exists()


def test_a_file_beyond_the_limit_is_left_and_that_is_said_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path, instance_mib=1)
    path = watched.put("Doe^Jane.dcm", bytes(2**20 + 1))
    assert watched.look() == []
    assert watched.look() == []
    (event,) = watched.node.events("file not taken")
    assert event["reason"] == "has more than 1 MiB (instance_mib)"
    assert "Doe" not in str(event)
    assert path.exists()


def test_nothing_is_taken_while_the_disk_is_full(tmp_path: Path) -> None:
    watched = Watched(tmp_path, free_mib=2**40)
    watched.put("a.dcm")
    assert watched.look() == []


def test_what_the_queue_cannot_write_down_is_written_at_the_next_look(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.put("a.dcm")

    def fail(_: object) -> None:
        raise watcher.sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(watched.node.queue, "receive", fail)
    watched.watcher.look(0)
    watched.watcher.look(SETTLED)
    monkeypatch.undo()
    assert watched.look() == [b"image"]


def test_a_watched_folder_that_is_missing_is_said_once_and_taken_up_when_it_is_there(watched: Watched) -> None:
    watched.folder.rmdir()
    assert watched.look() == []
    assert watched.look() == []
    assert len(watched.node.events("file not taken")) == 1
    watched.put("a.dcm")
    assert watched.look() == [b"image"]


def test_what_is_no_dicom_goes_into_quarantine_with_the_reason(watched: Watched) -> None:
    watched.put("letter.txt", b"Dear colleague,")
    watched.look()
    (outcome,) = watched.node.intake()
    assert outcome.startswith("quarantined: is no DICOM file")
    (path,) = watched.node.folders.quarantine.iterdir()
    assert path.read_bytes() == b"Dear colleague,"


def test_it_looks_until_it_is_stopped(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_LOOK", 0.01)
    monkeypatch.setattr(Watcher.__init__, "__defaults__", (0.05,))
    stop, node = threading.Event(), watched.node
    thread = threading.Thread(target=watcher.watch, args=(node.config, node.queue, node.audit, stop))
    thread.start()
    watched.put("a.dcm")
    wait_for(node.queue.arrivals)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
