from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Thread

import pytest
from node_parts import open_queue

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.node.queue.queue import Queue
from delineate.pipelines.node.queue.schema import VERSION


def test_what_is_committed_survives_a_loss_of_power(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    assert queue.rows("PRAGMA journal_mode") == [("wal",)]
    assert queue.rows("PRAGMA synchronous") == [(2,)]
    assert queue.rows("PRAGMA foreign_keys") == [(1,)]
    queue.close()


def test_a_queue_of_another_version_is_refused(tmp_path: Path) -> None:
    open_queue(tmp_path).close()
    with sqlite3.connect(tmp_path / "queue.sqlite") as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(
        DelineateError, match=f"is a queue of version {VERSION + 1}, and this Delineate knows {VERSION}"
    ):
        Queue(tmp_path / "queue.sqlite")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(DelineateError, match="cannot be used as a queue"):
        Queue(tmp_path / "queue.sqlite")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="cannot be opened"):
        Queue(tmp_path / "none" / "queue.sqlite")


def test_what_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)

    def fail() -> None:
        with queue.transaction() as database:
            database.execute("INSERT INTO releases VALUES ('a', 1)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert queue.rows("SELECT * FROM releases") == []
    queue.released("a", 1)
    queue.close()


def test_a_waiting_thread_is_woken_by_a_change(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    waiting = Thread(target=queue.wait, args=(600,))
    waiting.start()
    while waiting.is_alive():
        queue.released("a", 1)
        waiting.join(0.01)
    queue.close()
