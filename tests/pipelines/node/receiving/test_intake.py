from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from dicom_files import write_image
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage
from receiving import Node, wait_for

from delineate.pipelines.core.child import Child
from delineate.pipelines.node.configuration.config import Completeness
from delineate.pipelines.node.queue.queue import Arrival, Facts
from delineate.pipelines.node.queue.records import Job
from delineate.pipelines.node.receiving import intake as module
from delineate.pipelines.node.receiving.intake import Intake, key, take_in

UIDS = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "SOPInstanceUID": "1.2.3.4.5"}


class Desk:
    """A node's intake, and files that arrive."""

    def __init__(self, root: Path) -> None:
        self.node = Node(root / "node", completeness=Completeness(idle_seconds=0))
        self.intake = Intake(self.node.config, self.node.queue, self.node.audit)
        self.root = root

    def arrive(self, data: bytes) -> Path:
        path = self.node.folders.incoming / f"{uuid4().hex}.dcm"
        path.write_bytes(data)
        self.node.queue.receive(Arrival(path.name, "PEER", "", time.time()))
        return path

    def image(self, value: int = 0, **attributes: Any) -> bytes:
        path = write_image(self.root / "made.dcm", np.full((8, 8), value, np.uint8), **{**UIDS, **attributes})
        return path.read_bytes()

    def take(self) -> list[Job]:
        """Take in what arrived; the jobs, the newest first."""
        self.intake.take_all(threading.Event())
        assert not list(self.node.folders.incoming.iterdir())
        assert not self.node.queue.arrivals()
        return self.node.queue.jobs()

    def files(self) -> list[Path]:
        return sorted(path for path in self.node.folders.series.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def shared_child() -> Iterator[Child]:
    """One process apart for all: it takes a third of a second to start."""
    child = Child(Path(module.__file__).with_name("intake_apart.py"), patience=30, memory=2**30)
    yield child
    child.stop()


@pytest.fixture
def desk(tmp_path: Path, shared_child: Child) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.intake._child = shared_child
    yield desk
    desk.node.queue.close()


def test_an_image_is_filed_under_hashes_of_what_it_is_called(desk: Desk) -> None:
    data = desk.image()
    desk.arrive(data)
    (job,) = desk.take()
    assert (job.state, job.study_uid, job.series_uid, job.images, job.peer) == (
        "received",
        "1.2.3",
        "1.2.3.4",
        1,
        "PEER",
    )
    (path,) = desk.files()
    assert path.read_bytes() == data
    assert path.parent.name == key("1.2.3", "1.2.3.4")
    (instance,) = desk.node.queue.instances(job.id)
    assert instance.sop_uid == "1.2.3.4.5"
    assert desk.node.folders.root / instance.file == path


def test_a_series_is_one_job_and_another_series_another(desk: Desk) -> None:
    for series, image in (("1.1", "1.1.1"), ("1.1", "1.1.2"), ("1.2", "1.2.1")):
        desk.arrive(desk.image(SeriesInstanceUID=series, SOPInstanceUID=image))
    assert sorted((job.series_uid, job.images) for job in desk.take()) == [("1.1", 2), ("1.2", 1)]


def test_rules_hear_what_the_header_says(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Facts] = []
    file = desk.node.queue.file

    def listen(arrival: Arrival, facts: Facts, digest: str, series_file: str) -> Job:
        heard.append(facts)
        return file(arrival, facts, digest, series_file)

    monkeypatch.setattr(desk.node.queue, "file", listen)
    said = {"BodyPartExamined": "ABDOMEN", "StationName": "CT\x1b[31m1", "Manufacturer": "x" * 64}
    desk.arrive(desk.image(SpecificCharacterSet="ISO_IR 192", SeriesDescription="Röntgen", **said))
    desk.take()
    (facts,) = heard
    assert (facts.modality, facts.body_part, facts.series_description) == ("CT", "ABDOMEN", "Röntgen")
    assert facts.station == "CT\\x1b[31m1"
    assert facts.manufacturer == "x" * 64
    assert facts.image


def test_the_same_image_again_is_ignored(desk: Desk) -> None:
    for _ in range(2):
        desk.arrive(desk.image())
    (job,) = desk.take()
    assert job.images == 1
    assert len(desk.files()) == 1
    assert desk.node.events("image replaced") == []


def test_the_same_image_with_another_header_of_the_file_is_the_same(desk: Desk) -> None:
    desk.arrive(desk.image())
    data = desk.image()
    start = data.index(b"\x08\x00\x16\x00UI")
    desk.arrive(data[start:])  # as a folder may hold it: no prefix at all
    (job,) = desk.take()
    assert job.images == 1


def test_another_image_of_the_same_name_takes_its_place_and_that_is_written_down(desk: Desk) -> None:
    desk.arrive(desk.image(0))
    desk.take()
    desk.arrive(desk.image(1))
    (job,) = desk.take()
    assert job.images == 1
    (instance,) = desk.node.queue.instances(job.id)
    assert dcmread(desk.node.folders.root / instance.file).pixel_array.max() == 1
    (event,) = desk.node.events("image replaced")
    assert (event["image"], event["job"]) == ("1.2.3.4.5", job.id)


def test_a_late_image_makes_a_new_job_of_all(desk: Desk) -> None:
    desk.arrive(desk.image(SOPInstanceUID="1.1"))
    desk.take()
    desk.node.queue.settle(desk.node.config, time.time() + 1)
    desk.arrive(desk.image(SOPInstanceUID="1.2"))
    new, old = desk.take()
    assert (old.generation, old.images, new.generation, new.images) == (1, 1, 2, 2)


@pytest.mark.parametrize("kind", [SegmentationStorage, ComprehensiveSRStorage])
def test_what_is_no_image_is_filed_and_not_segmented(desk: Desk, kind: str) -> None:
    desk.arrive(desk.image(SOPClassUID=kind, Modality="OT"))
    desk.take()
    (job,) = desk.node.queue.settle(desk.node.config, time.time() + 1)
    assert (job.state, job.reason[:13]) == ("done", "not segmented")


BROKEN = {
    "no DICOM": (b"Dear colleague,", "is no DICOM file"),
    "empty": (b"", "is empty (0 bytes)"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is no DICOM file (it holds"),
    "only a prefix": (bytes(128) + b"DICM", "is no DICOM file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_quarantined_with_the_reason(desk: Desk, name: str) -> None:
    data, reason = BROKEN[name]
    desk.arrive(data)
    (job,) = desk.take()
    assert job.state == "quarantined"
    assert reason in job.reason
    assert len(job.reason.splitlines()) == 1
    (path,) = desk.node.folders.quarantine.iterdir()
    assert path.read_bytes() == data
    (event,) = desk.node.events("image quarantined")
    assert (event["job"], event["reason"]) == (job.id, job.reason)
    assert "patient_file" not in event
    assert f"send it again, or delete it from quarantine/{path.name}" in job.reason or "MiB" in job.reason


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("value", ["../../etc/passwd", "1.2.3\n4", "1" * 65, "Doe^Jane"])
@pytest.mark.filterwarnings("ignore:.*UI.*:UserWarning", "ignore:.*exceeds.*:UserWarning")
def test_an_image_without_a_sound_uid_is_quarantined(desk: Desk, keyword: str, value: str) -> None:
    desk.arrive(desk.image(**{keyword: value}))
    (job,) = desk.take()
    assert job.state == "quarantined"
    assert keyword in job.reason
    assert desk.files() == []


@pytest.mark.parametrize("keyword", UIDS)
def test_an_image_without_a_uid_is_quarantined(desk: Desk, keyword: str) -> None:
    dataset, file = dcmread(BytesIO(desk.image())), BytesIO()
    del dataset[keyword]
    dataset.save_as(file, enforce_file_format=False)
    desk.arrive(file.getvalue())
    (job,) = desk.take()
    assert job.reason.startswith(f"has no {keyword}; ")


def test_a_transfer_syntax_that_is_not_read_is_quarantined(desk: Desk) -> None:
    desk.arrive(desk.image().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.99"))
    (job,) = desk.take()
    assert "transfer syntax" in job.reason


def test_a_file_cut_off_in_its_pixels_belongs_to_its_series_all_the_same(desk: Desk) -> None:
    """Without it the rest would pass for a whole series; whoever segments it refuses it with the reason."""
    desk.arrive(desk.image()[:-20])
    (job,) = desk.take()
    assert (job.state, job.images) == ("received", 1)


def test_one_file_that_cannot_be_read_does_not_keep_up_the_rest(desk: Desk) -> None:
    desk.arrive(desk.image(SOPInstanceUID="1.1"))
    desk.arrive(b"broken")
    desk.arrive(desk.image(SOPInstanceUID="1.2"))
    states = {job.state: job.images for job in desk.take()}
    assert states == {"received": 2, "quarantined": 1}


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "poison.py"
    path.write_text(f"import json, os, time\n{text}\n")
    return path


POISON = """
def answer(request):
    if open(request, "rb").read() == b"poison":
        {deed}
    return json.dumps({{"facts": {{"study_uid": "1", "series_uid": "2", "sop_uid": request.decode()[-40:],
        "sop_class": "3"}}, "digest": "4"}}).encode()
"""


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("os._exit(1)", "crashed"),
        ("time.sleep(60)", "took longer than 1 s"),
        ("bytearray(2**32)", "MemoryError"),
        ("os.kill(os.getpid(), 11)", "crashed"),
    ],
)
def test_a_file_that_ends_its_reader_is_quarantined_alone(tmp_path: Path, deed: str, reason: str) -> None:
    desk = Desk(tmp_path)
    desk.intake._child = Child(program(tmp_path, POISON.format(deed=deed)), patience=1, memory=2**30)
    for data in (b"good", b"poison", b"good"):
        desk.arrive(data)
    jobs = {job.state: job for job in desk.take()}
    assert jobs["received"].images == 2
    assert reason in jobs["quarantined"].reason
    desk.intake.close()
    desk.node.queue.close()


def test_a_reader_that_ends_while_the_node_ends_says_nothing_of_the_file(tmp_path: Path) -> None:
    desk, stop = Desk(tmp_path), threading.Event()
    desk.intake._child = Child(program(tmp_path, POISON.format(deed="os._exit(1)")), patience=1, memory=2**30)
    path = desk.arrive(b"poison")
    stop.set()
    desk.intake.take(desk.node.queue.arrivals()[0], stop)
    assert path.exists()
    assert desk.node.queue.jobs() == []
    desk.node.queue.close()


def end_before(step: str, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take in what has arrived, end before a step of it, and start again."""

    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    where: Any = {"put": module, "unlink": Path}.get(step, desk.node.queue)
    monkeypatch.setattr(where, step, end)
    with pytest.raises(KeyboardInterrupt):
        desk.intake.take_all(threading.Event())
    monkeypatch.undo()
    desk.node.queue.recover()


@pytest.mark.parametrize("step", ["put", "file", "unlink"])
def test_each_step_can_be_done_again(desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """It ends before a step; the next start finds all that is needed, and does nothing twice."""
    desk.arrive(desk.image())
    end_before(step, desk, monkeypatch)
    (job,) = desk.take()
    assert (job.state, job.images) == ("received", 1)
    assert len(desk.files()) == 1


@pytest.mark.parametrize("step", ["put", "reject", "unlink"])
def test_each_step_into_quarantine_can_be_done_again(desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    desk.arrive(b"broken")
    end_before(step, desk, monkeypatch)
    assert {job.state for job in desk.take()} == {"quarantined"}
    assert len(list(desk.node.folders.quarantine.iterdir())) == 1


def test_a_full_disk_keeps_a_file_until_there_is_room(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0)
    path = desk.arrive(desk.image())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "put", full)
    for _ in range(3):
        desk.intake.take_all(threading.Event())
    assert path.exists()
    assert desk.node.queue.jobs() == []
    assert [event["reason"] for event in desk.node.events("intake waits")] == ["[Errno 28] No space left on device"]
    monkeypatch.undo()
    assert [job.state for job in desk.take()] == ["received"]


def test_without_hard_links_the_file_is_copied(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(module.os, "link", refuse)
    data = desk.image()
    desk.arrive(data)
    desk.take()
    assert [path.read_bytes() for path in desk.files()] == [data]


def test_a_file_that_is_gone_is_said_to_be(desk: Desk) -> None:
    desk.arrive(desk.image()).unlink()
    (job,) = desk.take()
    assert (job.state, job.reason) == ("quarantined", "its file is gone from incoming/")


def test_a_link_in_incoming_is_not_read(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(desk.image())
    path = desk.arrive(b"x")
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    (job,) = desk.take()
    assert (job.state, job.reason) == ("quarantined", "is a link, not a file")
    assert desk.files() == []
    assert (tmp_path / "secret").exists()


def test_the_digest_is_of_the_syntax_and_the_data_set(desk: Desk) -> None:
    data = desk.image()
    start = data.index(b"\x08\x00\x16\x00UI")
    desk.arrive(data)
    (job,) = desk.take()
    expected = hashlib.sha256(b"1.2.840.10008.1.2.1\n" + data[start:]).hexdigest()
    assert desk.node.queue.instances(job.id)[0].digest == expected


def test_it_takes_in_until_it_is_stopped(desk: Desk) -> None:
    stop, node = threading.Event(), desk.node
    thread = threading.Thread(target=take_in, args=(node.config, node.queue, node.audit, stop))
    thread.start()
    desk.arrive(desk.image())
    wait_for(node.queue.jobs)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert os.listdir(node.folders.incoming) == []
