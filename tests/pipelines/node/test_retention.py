from __future__ import annotations

from pathlib import Path

import pytest
from node_parts import IDLE, config_of, done_job, facts_of, ready_job, take_in

from delineate.pipelines.node.audit import Audit, events
from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.queue.queue import Arrival, Job, Queue
from delineate.pipelines.node.retention import delete_old

DAY = 86400.0
LONG = 1000 * DAY


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    return config_of(tmp_path, retention={"days_images": 7, "days_results": 30, "days_quarantine": 90})


@pytest.fixture
def audit(tmp_path: Path, queue: Queue) -> Audit:
    return Audit(tmp_path / "audit")


def files(folder: Path) -> list[str]:
    return sorted(path.name for place in ("series", "quarantine", "results") for path in (folder / place).rglob("*.*"))


def sent_job(queue: Queue, config: NodeConfig, **facts: str) -> Job:
    """A job that was done and sent just after the beginning of time, with a file as its result."""
    job = done_job(queue, config, **facts)
    result = queue.database.parent / "results" / job.id
    result.mkdir()
    (result / "seg.dcm").write_bytes(b"result")
    for delivery in queue.due(IDLE):
        queue.delivered(delivery.id)
    return job


def test_images_go_first_and_results_later(queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path) -> None:
    job = sent_job(queue, config)
    assert delete_old(config, queue, audit, 6.9 * DAY) == 0
    assert len(files(tmp_path)) == 2
    assert delete_old(config, queue, audit, 7.1 * DAY) == 1
    assert files(tmp_path) == ["seg.dcm"]
    assert list((tmp_path / "series").iterdir()) == []
    assert delete_old(config, queue, audit, 30.1 * DAY) == 1
    assert files(tmp_path) == []
    assert queue.job(job.id).state == "sent"
    assert delete_old(config, queue, audit, LONG) == 0


def test_what_was_deleted_is_written_down(queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path) -> None:
    job = sent_job(queue, config)
    delete_old(config, queue, audit, LONG)
    assert [event["event"] for event in events(audit.folder, job.id)] == ["result deleted"]
    (file,) = audit.folder.iterdir()
    assert '"images deleted", "series": "1.2.3", "images": 1' in file.read_text()


@pytest.mark.parametrize("state", ["received", "ready", "running", "done", "failed"])
def test_what_is_to_be_done_or_sent_stays(
    state: str, queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path
) -> None:
    if state in ("done", "failed"):
        job = done_job(queue, config)
        (tmp_path / "results" / job.id).mkdir()
        (tmp_path / "results" / job.id / "seg.dcm").write_bytes(b"result")
        if state == "failed":
            queue.not_delivered(queue.due(IDLE)[0].id, "refused", 0, give_up=True)
    elif state == "received":
        take_in(queue, facts_of())
    else:
        ready_job(queue, config)
        if state == "running":
            queue.next_job(IDLE)
    before = files(tmp_path)
    assert queue.counts()[state] == 1  # type: ignore[index]
    assert delete_old(config, queue, audit, LONG) == 0
    assert files(tmp_path) == before != []


def test_a_series_stays_as_long_as_one_of_its_jobs(
    queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path
) -> None:
    sent_job(queue, config)
    take_in(queue, facts_of(sop_uid="1.9"), when=LONG)
    assert delete_old(config, queue, audit, LONG) == 1  # the result
    assert len(files(tmp_path)) == 2


def test_what_is_quarantined_has_a_time_of_its_own(
    queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path
) -> None:
    job = ready_job(queue, config)
    queue.next_job(IDLE)
    queue.quarantine(job.id, "broken", now=IDLE)
    arrival = Arrival("a.dcm", "A", "", 1.0)
    (tmp_path / "quarantine" / "a.dcm").write_bytes(b"poison")
    queue.receive(arrival)
    queue.reject(arrival, "no DICOM", "quarantine/a.dcm", now=IDLE)
    assert delete_old(config, queue, audit, 89 * DAY) == 0
    assert delete_old(config, queue, audit, 91 * DAY) == 2
    assert files(tmp_path) == []
    assert (tmp_path / "quarantine").is_dir()


def test_images_that_come_after_that_are_a_job_without_the_deleted_ones(
    queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path
) -> None:
    first = sent_job(queue, config)
    delete_old(config, queue, audit, 8 * DAY)
    job = take_in(queue, facts_of(sop_uid="1.9"), when=8 * DAY)
    assert (job.generation, job.images) == (2, 1)
    with pytest.raises(Exception, match="have been deleted; send them again"):
        queue.retry(first.id)


def test_the_same_images_that_come_after_that_are_not_computed_again(
    queue: Queue, config: NodeConfig, audit: Audit
) -> None:
    first = sent_job(queue, config)
    delete_old(config, queue, audit, 8 * DAY)
    take_in(queue, facts_of(), when=8 * DAY)
    queue.settle(config, 9 * DAY)
    job = queue.next_job(9 * DAY)
    assert job is not None
    assert queue.same_as(job.id, "model") == first.id


def test_files_wait_for_what_came_to_be_read(queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path) -> None:
    sent_job(queue, config)
    arrival = Arrival("a.dcm", "A", "", 1.0)
    queue.receive(arrival)
    delete_old(config, queue, audit, 8 * DAY)
    assert len(files(tmp_path)) == 2
    queue.reject(arrival, "no DICOM", "quarantine/a.dcm", now=8 * DAY)
    delete_old(config, queue, audit, 8 * DAY)
    assert len(files(tmp_path)) == 1


def test_a_file_that_came_again_meanwhile_stays(queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path) -> None:
    sent_job(queue, config)
    queue.receive(Arrival("a.dcm", "A", "", 1.0))
    delete_old(config, queue, audit, 8 * DAY)
    take_in(queue, facts_of(), when=8 * DAY)
    queue.reject(queue.arrivals()[0], "no DICOM", "quarantine/a.dcm", now=8 * DAY)
    delete_old(config, queue, audit, 8 * DAY)
    assert len(files(tmp_path)) == 2


def test_a_folder_that_is_no_result_stays(queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "results" / "notes").mkdir()
    delete_old(config, queue, audit, LONG)
    assert (tmp_path / "results" / "notes").is_dir()


def test_many_series_are_deleted_in_several_steps(
    queue: Queue, config: NodeConfig, audit: Audit, tmp_path: Path
) -> None:
    for number in range(50):
        take_in(queue, facts_of(f"1.{number}", modality="MR"))
        for image in range(5):
            take_in(queue, facts_of(f"1.{number}", f"1.{image}", modality="MR"))
    queue.settle(config, IDLE)
    assert delete_old(config, queue, audit, LONG) == 50
    assert files(tmp_path) == []
