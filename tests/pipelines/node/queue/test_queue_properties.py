"""Whatever happens in whatever order, no image is lost and no work is done twice."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from node_parts import IDLE, RESULT, config_of, facts_of, open_queue, put_result, take_further

from delineate.pipelines.node.queue.queue import Arrival, Job, Queue

SERIES, IMAGES = st.sampled_from(["1.1", "1.2"]), st.sampled_from(["1.1.1", "1.1.2", "1.1.3"])
RESULTS = [RESULT, replace(RESULT, destination="archive")]
RULES = [{"name": name, "bundle": "ct_slice", "match": match} for name, match in (("a", {}), ("b", {"modality": "C*"}))]


class Nodes(RuleBasedStateMachine):
    """A node that is stopped, killed and started, with scanners, workers and destinations of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.config = config_of(self.folder, rules=RULES)
        self.queue = open_queue(self.folder)
        put_result(self.queue)
        self.now = 0.0
        self.sent: dict[tuple[str, str], bytes] = {}  # by series and image: what its sender was told is here
        self.unread: dict[str, tuple[str, str, bytes]] = {}
        self.running: dict[str, list[Any]] = {}
        self.refused: dict[str, tuple[str, str, bytes]] = {}

    @rule(series=SERIES, image=IMAGES, content=st.sampled_from([b"a", b"b"]), is_told=st.booleans())
    def receive(self, series: str, image: str, content: bytes, is_told: bool) -> None:
        name = f"{uuid4().hex}.dcm"
        (self.folder / "incoming" / name).write_bytes(content)
        if is_told:  # else the node was killed before
            self.queue.receive(Arrival(name, "SCANNER", "", self.now))
        self.unread[name] = (series, image, content)

    @rule(is_readable=st.integers(0, 9))
    @precondition(lambda self: self.queue.arrivals())
    def read(self, is_readable: int) -> None:
        arrival = self.queue.arrivals()[0]
        series, image, content = self.unread.pop(arrival.file)
        if is_readable:
            take_further(self.queue, arrival, facts_of(series, image))
            self.sent[series, image] = content
        else:
            incoming, place = (self.folder / name / arrival.file for name in ("incoming", "quarantine"))
            place.hardlink_to(incoming)
            self.queue.reject(arrival, "broken", f"quarantine/{arrival.file}")
            incoming.unlink()
            self.refused[arrival.file] = (series, image, content)

    @rule(seconds=st.sampled_from([0.0, IDLE / 2, IDLE]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.queue.settle(self.config, self.now)

    @rule()
    def complete(self) -> None:
        self.queue.complete("1.2", self.now)

    @rule()
    def claim(self) -> None:
        if job := self.queue.next_job(self.now):
            assert job.id not in self.running
            self.running[job.id] = self.queue.instances(job.id)
            assert len(self.running[job.id]) == job.images

    @rule(end=st.sampled_from(["done", "crashed", "broken", "as before"]))
    @precondition(lambda self: self.running)
    def finish(self, end: str) -> None:
        id_, images = self.running.popitem()
        assert self.queue.instances(id_) == images
        if end == "crashed":
            self.queue.failed_attempt(id_, end, 2)
        elif end == "broken":
            self.queue.quarantine(id_, end)
        elif end == "as before" and (before := self.queue.same_as(id_, "model")):
            assert [each.digest for each in self.queue.instances(before)] == [each.digest for each in images]
            self.queue.done_before(id_, before, "model")
        else:
            self.queue.done(id_, "model", RESULTS)

    @rule(end=st.sampled_from(["sent", "later", "never"]))
    def send(self, end: str) -> None:
        for delivery in self.queue.due(self.now)[:1]:
            if end == "sent":
                self.queue.delivered(delivery.id)
            else:
                self.queue.not_delivered(delivery.id, "refused", self.now + 10, end == "never")

    @rule(number=st.integers(0, 20))
    def retry(self, number: int) -> None:
        jobs = self.queue.jobs()
        if jobs and (job := jobs[number % len(jobs)]).state not in ("received", "ready", "running"):
            if job.series_uid:
                self.queue.retry(job.id)
            else:
                file = self.queue.release(job.id, self.now).file
                self.unread[file] = self.refused.pop(file)

    @rule()
    def start_again(self) -> None:
        self.queue.close()
        self.queue = Queue(self.queue.database)
        self.queue.recover(self.now)
        self.running.clear()
        assert {arrival.file for arrival in self.queue.arrivals()} == self.unread.keys()
        assert self.queue.counts()["running"] == 0

    @invariant()
    def the_newest_job_of_a_series_has_all_its_images_as_they_came_last(self) -> None:
        newest: dict[str, Job] = {}
        for job in self.queue.jobs():
            if job.series_uid and job.generation >= newest.get(job.series_uid, job).generation:
                newest[job.series_uid] = job
        for series in {series for series, _ in self.sent}:
            images = {each.sop_uid: each.digest for each in self.queue.instances(newest[series].id)}
            there = {image: content for (one, image), content in self.sent.items() if one == series}
            assert images == {image: hashlib.sha256(content).hexdigest() for image, content in there.items()}

    @invariant()
    def every_file_is_where_it_is_said_to_be(self) -> None:
        for job in self.queue.jobs():
            for each in self.queue.instances(job.id):
                found = hashlib.sha256((self.folder / each.file).read_bytes()).hexdigest()
                assert found == each.digest or not job.series_uid
        refused = {Path(each.file).name for job in self.queue.jobs() for each in self.queue.instances(job.id)}
        assert self.refused.keys() <= refused

    @invariant()
    def a_generation_has_a_job_for_each_rule_and_none_is_left_out(self) -> None:
        jobs = [(job.series_uid, job.generation, job.rule) for job in self.queue.jobs() if job.series_uid]
        assert len(set(jobs)) == len(jobs)
        for series in {series for series, _, _ in jobs}:
            rules: dict[int, list[str | None]] = {}
            for one, generation, name in jobs:
                if one == series:
                    rules.setdefault(generation, []).append(name)
            assert sorted(rules) == list(range(1, len(rules) + 1))
            assert all(set(names) in ({None}, {"a", "b"}) for names in rules.values())

    @invariant()
    def what_is_sent_has_nothing_to_send(self) -> None:
        for job in self.queue.jobs():
            states = {each.state for each in self.queue.deliveries(job.id)}
            assert job.state != "sent" or states <= {"sent"}
            assert job.state != "failed" or "failed" in states
            assert job.state in ("done", "failed") or "pending" not in states

    def teardown(self) -> None:
        self.queue.close()
        shutil.rmtree(self.folder)


Nodes.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestNodes = Nodes.TestCase


class _Watched:
    """A connection; before each statement the disk is copied, as a node that is killed there leaves it."""

    def __init__(self, connection: Any, folder: Path, copies: Path) -> None:
        self.connection, self.folder, self.copies, self.count = connection, folder, copies, 0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.connection, name)
        if name not in ("execute", "executemany"):
            return attribute
        shutil.copytree(self.folder, self.copies / str(self.count))
        self.count += 1
        return attribute


@contextmanager
def watched(queue: Queue, copies: Path) -> Any:
    connection = queue._connection
    queue._connection = _Watched(connection, queue.database.parent, copies)  # type: ignore[assignment]
    try:
        yield
    finally:
        queue._connection = connection


def content_of(folder: Path) -> list[Any]:
    queue = Queue(folder / "queue.sqlite")
    tables = ("arrivals", "releases", "series", "instances", "jobs", "deliveries")
    found = [queue.rows(f"SELECT * FROM {table} ORDER BY rowid") for table in tables]
    queue.close()
    return found


def act(queue: Queue, name: str) -> None:
    """One thing that the queue does, where it can."""
    job = next(job for job in queue.jobs() if job.state not in ("quarantined", "received"))
    config = config_of(queue.database.parent, rules=RULES)
    actions: dict[str, Any] = {
        "receive": lambda: queue.receive(Arrival("b.dcm", "SCANNER", "", 1.0)),
        "file": lambda: queue.file(queue.arrivals()[0], facts_of(sop_uid="1.2.3.1"), "other", "series/b.dcm"),
        "reject": lambda: queue.reject(queue.arrivals()[0], "broken", "quarantine/a.dcm", now=2.0),
        "settle": lambda: queue.settle(config, 1e9),
        "released": lambda: queue.released("a", 3.0),
        "complete": lambda: queue.complete("1.2", 3.0),
        "next_job": lambda: queue.next_job(IDLE),
        "done": lambda: queue.done(job.id, "model", RESULTS, now=3.0),
        "done_before": lambda: queue.done_before(job.id, "another", "model", now=3.0),
        "failed_attempt": lambda: queue.failed_attempt(job.id, "crashed", 1, now=3.0),
        "quarantine": lambda: queue.quarantine(job.id, "broken", now=3.0),
        "delivered": lambda: queue.delivered(queue.due(IDLE)[0].id),
        "not_delivered": lambda: queue.not_delivered(queue.due(IDLE)[0].id, "refused", 60, give_up=True),
        "committing": lambda: queue.committing(queue.due(IDLE)[0].id, "2.25", now=3.0),
        "committed": lambda: queue.committed("2.25", [RESULT.sop_uid]),
        "retry": lambda: queue.retry(job.id, now=3.0),
        "recover": queue.recover,
    }
    actions[name]()


BEFORE: dict[str, list[str]] = {
    "receive": [],
    "file": ["receive"],
    "reject": ["receive"],
    "settle": ["receive", "file"],
    "released": [],
    "complete": ["receive", "file"],
    "next_job": [],
    "done": ["next_job"],
    "done_before": ["next_job"],
    "failed_attempt": ["next_job"],
    "quarantine": ["next_job"],
    "delivered": ["next_job", "done"],
    "not_delivered": ["next_job", "done"],
    "committing": ["next_job", "done"],
    "committed": ["next_job", "done", "committing"],
    "retry": ["next_job", "done", "not_delivered"],
    "recover": ["next_job", "receive"],
}


@pytest.mark.parametrize("name", BEFORE)
def test_a_node_that_is_killed_leaves_the_queue_as_it_was_or_as_it_is_to_be(name: str, tmp_path: Path) -> None:
    folder, copies = tmp_path / "node", tmp_path / "copies"
    queue = open_queue(folder)
    put_result(queue)
    (folder / "incoming" / "a.dcm").write_bytes(b"pixels")
    arrival = Arrival("a.dcm", "SCANNER", "a", 0.0)
    queue.receive(arrival)
    queue.file(arrival, facts_of(), "digest", "series/a.dcm")
    queue.settle(config_of(folder), IDLE)
    for each in BEFORE[name]:
        act(queue, each)
    before = content_of(shutil.copytree(folder, tmp_path / "before"))
    with watched(queue, copies):
        act(queue, name)
    after = content_of(shutil.copytree(folder, tmp_path / "after"))
    queue.close()
    found = [content_of(copy) for copy in copies.iterdir()]
    assert after != before
    assert all(each in (before, after) for each in found)
    assert len(found) > 2
