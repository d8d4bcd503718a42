from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import pytest
from node_parts import config_of, facts_of, open_queue, take_in

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.node import service
from delineate.pipelines.node.audit import Audit
from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.health import Meter
from delineate.pipelines.node.service import CountingAudit, Parts, run, settle


def fail() -> None:
    raise ValueError("a line\nand another")


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (fail, r"the node's sender ended: ValueError: a line\\nand another; nothing that was received is lost"),
        (lambda: None, "the node's sender ended: it ended"),
    ],
)
def test_a_part_that_ends_ends_all_and_says_why(part: object, reason: str) -> None:
    parts = Parts(threading.Event())
    parts.start("intake", lambda: parts.stop.wait(10) and None)
    parts.start("sender", part)  # type: ignore[arg-type]
    assert parts.join(10)
    with pytest.raises(DelineateError, match=reason):
        parts.refuse_failure()


def test_parts_that_are_told_to_end_have_not_failed() -> None:
    parts = Parts(threading.Event())
    parts.start("intake", lambda: parts.stop.wait(10) and None)
    parts.stop.set()
    assert parts.join(10)
    parts.refuse_failure()


def config_without_bundles(folder: Path) -> NodeConfig:
    return config_of(folder, rules=[], port=0, address="127.0.0.1", health={"port": 0})


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    stop, said = threading.Event(), list[str]()

    def say(line: str) -> None:
        said.append(line)
        stop.set()

    assert run(config_without_bundles(tmp_path), stop, say) == 0
    assert said[0].startswith("DELINEATE listens on 127.0.0.1, port ")
    assert said[-1] == "stopping"


def test_a_part_that_fails_ends_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "send", lambda *_: fail())
    with pytest.raises(DelineateError, match="the node's sender ended"):
        run(config_without_bundles(tmp_path))


def test_a_queue_on_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    for part in ("_recover", "send"):
        with monkeypatch.context() as patched:
            patched.setattr(service, part, write)
            with pytest.raises(DelineateError, match=r"queue.sqlite: database or disk is full; make room"):
                run(config_without_bundles(tmp_path))


def test_a_receiver_that_ends_ends_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.Receiver, "is_listening", False)
    with pytest.raises(DelineateError, match="the node's receiver ended"):
        run(config_without_bundles(tmp_path))


def test_what_a_killed_node_was_at_is_begun_again(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    queue = open_queue(tmp_path)
    take_in(queue, facts_of())
    (job,) = queue.settle(config)
    assert queue.next_job()
    (tmp_path / "work" / "left").mkdir()
    service._recover(config, queue, Audit(tmp_path / "audit"))
    assert queue.job(job.id).state == "ready"
    assert not list((tmp_path / "work").iterdir())
    queue.close()


def test_what_cannot_be_deleted_does_not_end_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, queue, stop = config_of(tmp_path), open_queue(tmp_path), threading.Event()

    def refuse(*_: object) -> None:
        stop.set()
        raise PermissionError(13, "Permission denied", "results/a")

    monkeypatch.setattr(service, "delete_old", refuse)
    service.retain(config, queue, Audit(tmp_path / "audit"), stop)
    (events,) = (tmp_path / "audit").iterdir()
    assert '"event": "not deleted", "file": "results/a", "reason": "Permission denied"' in events.read_text()
    queue.close()


def test_low_disk_and_its_end_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, queue, stop = config_of(tmp_path), open_queue(tmp_path), threading.Event()
    audit, free = CountingAudit(config, Meter(config, queue)), iter([1, 1, 2**20])

    def free_mib(_: object) -> int:
        if (found := next(free)) > 1:
            stop.set()
        return found

    monkeypatch.setattr(service.Folders, "free_mib", free_mib)
    monkeypatch.setattr(service, "_DISK", 0)
    service.look_at_disk(config, queue, audit, stop)
    (events,) = (tmp_path / "audit").iterdir()
    assert [json.loads(line)["event"] for line in events.read_text().splitlines()] == ["low disk", "room again"]
    queue.close()


def test_the_audit_tells_the_journal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config, queue = config_of(tmp_path), open_queue(tmp_path)
    CountingAudit(config, Meter(config, queue)).write("association refused", peer="A 10.0.0.1", reason="no caller")
    assert caplog.messages == ["refused: A 10.0.0.1: no caller"]
    queue.close()


def test_complete_series_become_ready(tmp_path: Path) -> None:
    config, queue, stop = config_of(tmp_path), open_queue(tmp_path), threading.Event()
    job = take_in(queue, facts_of())
    thread = threading.Thread(target=settle, args=(config, queue, Audit(tmp_path / "audit"), stop))
    thread.start()
    while queue.job(job.id).state != "ready":
        queue.wait(0.1)
    stop.set()
    thread.join()
    (events,) = (tmp_path / "audit").iterdir()
    assert '"event": "ready"' in events.read_text()
    queue.close()
