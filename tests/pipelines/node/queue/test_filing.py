from __future__ import annotations

import os
from pathlib import Path

import pytest
from node_parts import IDLE, SEGMENTATION, config_of, done_job, facts_of, open_queue, ready_job, take_in

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.queue.queue import Arrival, Queue


def sop_uids(queue: Queue, job: str) -> list[str]:
    return [instance.sop_uid for instance in queue.instances(job)]


def test_arrivals_wait_in_the_order_in_which_they_came(queue: Queue) -> None:
    late, early = Arrival("b.dcm", "A", "1", 2.0), Arrival("a.dcm", "A", "1", 1.0)
    for arrival in (late, early, late):
        queue.receive(arrival)
    assert queue.arrivals() == [early, late]


def test_images_of_a_series_are_one_job(queue: Queue) -> None:
    ids = {take_in(queue, facts_of(sop_uid=f"1.{number}"), when=number).id for number in range(3)}
    (job,) = queue.jobs()
    assert ids == {job.id}
    assert (job.images, job.received, job.last_image) == (3, 0, 2)
    assert sop_uids(queue, job.id) == ["1.0", "1.1", "1.2"]
    assert queue.arrivals() == []


def test_series_are_told_apart_by_study_too(queue: Queue) -> None:
    take_in(queue, facts_of("1", study_uid="1.2"))
    take_in(queue, facts_of("1", study_uid="1.3"))
    assert len(queue.jobs()) == 2


def test_the_same_bytes_again_are_ignored(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    assert take_in(queue, facts_of(), when=90).id == job.id
    assert len(queue.jobs()) == len(queue.instances(job.id)) == 1
    assert queue.arrivals() == []


def test_late_images_are_a_new_generation_of_all_images(queue: Queue, config: NodeConfig) -> None:
    first = ready_job(queue, config)
    second = take_in(queue, facts_of(sop_uid="1.9"), when=90)
    assert (second.generation, second.state, second.images, second.rule) == (2, "received", 2, None)
    assert sop_uids(queue, second.id) == ["1.2.3.1", "1.9"]
    assert sop_uids(queue, first.id) == ["1.2.3.1"]


def test_a_job_of_fewer_images_that_is_not_begun_is_not_done_any_more(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    later = take_in(queue, facts_of(sop_uid="1.2.3.2"))
    assert queue.next_job(IDLE) is None
    assert queue.job(job.id).state == "done"
    assert queue.job(job.id).reason == f"more images came before it was begun: see job {later.id[:12]}"


def test_other_bytes_of_an_image_take_its_place_in_the_next_job(queue: Queue, config: NodeConfig) -> None:
    first = ready_job(queue, config)
    before = queue.digest_of(facts_of())
    second = take_in(queue, facts_of(), b"other pixels", when=90)
    assert second.generation == 2
    assert [each.digest for each in queue.instances(first.id)] == [before]
    assert [each.digest for each in queue.instances(second.id)] == [queue.digest_of(facts_of())] != [before]


def test_an_image_that_nobody_sent_has_no_digest(queue: Queue) -> None:
    assert queue.digest_of(facts_of()) is None


def test_a_series_is_complete_when_no_image_came_for_a_while(queue: Queue, config: NodeConfig) -> None:
    take_in(queue, facts_of(), when=10)
    assert queue.settle(config, 10 + IDLE - 1) == []
    (job,) = queue.settle(config, 10 + IDLE)
    assert (job.state, job.rule) == ("ready", "ct")
    assert queue.settle(config, 100) == []


def test_a_series_waits_for_files_that_came_in_time_and_are_not_read_yet(queue: Queue, config: NodeConfig) -> None:
    take_in(queue, facts_of(), when=10)
    queue.receive(Arrival("unread.dcm", "A", "1", 10 + IDLE))
    assert queue.settle(config, 1000) == []
    queue.reject(queue.arrivals()[0], "no DICOM", "quarantine/unread.dcm")
    assert len(queue.settle(config, 1000)) == 1


def test_files_that_come_later_do_not_hold_a_series_up(queue: Queue, config: NodeConfig) -> None:
    take_in(queue, facts_of(), when=10)
    queue.receive(Arrival("unread.dcm", "A", "1", 11 + IDLE))
    assert len(queue.settle(config, 1000)) == 1


def test_a_series_is_complete_when_its_associations_are_released(queue: Queue, tmp_path: Path) -> None:
    config = config_of(tmp_path, completeness={"at_release": True, "idle_seconds": 1000})
    take_in(queue, facts_of(sop_uid="1.1"), association="a", when=1)
    take_in(queue, facts_of(sop_uid="1.2"), association="b", when=2)
    queue.released("a", 3)
    assert queue.settle(config, 4) == []
    queue.released("b", 5)
    assert len(queue.settle(config, 5)) == 1


def test_a_release_means_nothing_where_it_is_not_asked_for(queue: Queue, config: NodeConfig) -> None:
    take_in(queue, facts_of(), association="a", when=1)
    queue.released("a", 3)
    assert queue.settle(config, 4) == []


def test_a_release_counts_for_a_file_that_is_read_after_it(queue: Queue, tmp_path: Path) -> None:
    config = config_of(tmp_path, completeness={"at_release": True, "idle_seconds": 1000})
    queue.released("a", 3)
    take_in(queue, facts_of(), association="a", when=1)
    assert len(queue.settle(config, 4)) == 1


def test_somebody_can_say_that_a_study_is_complete(queue: Queue, config: NodeConfig) -> None:
    for series in ("1.1", "1.2"):
        take_in(queue, facts_of(series), when=1)
    assert queue.complete("another", 2) == 0
    assert queue.complete("1.2", 2) == 2
    assert len(queue.settle(config, 2)) == 2
    assert queue.complete("1.2", 3) == 0


def test_an_image_after_that_makes_the_study_wait_again(queue: Queue, config: NodeConfig) -> None:
    take_in(queue, facts_of(sop_uid="1.1"), when=1)
    queue.complete("1.2", 2)
    take_in(queue, facts_of(sop_uid="1.2"), when=3)
    assert queue.settle(config, 4) == []


def test_each_rule_that_fits_has_a_job(queue: Queue, tmp_path: Path) -> None:
    rules = [{"name": name, "bundle": "ct_slice"} for name in ("a", "b", "c")]
    take_in(queue, facts_of())
    jobs = queue.settle(config_of(tmp_path, rules=rules), IDLE)
    assert [(job.rule, job.state, job.images) for job in jobs] == [(name, "ready", 1) for name in "abc"]
    assert len({job.id for job in jobs}) == 3
    assert take_in(queue, facts_of(sop_uid="1.9")).generation == 2


def test_a_series_that_no_rule_is_for_is_done(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config, modality="MR", sop_class="1.2.840.10008.5.1.4.1.1.4")
    assert (job.state, job.reason) == ("done", "no rule is for it: MR, MR Image Storage")


def test_what_is_no_image_is_done(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config, modality="SEG", sop_class=SEGMENTATION)
    assert (job.state, job.reason) == ("done", "not segmented: a Segmentation")


def test_a_file_that_cannot_be_read_is_a_quarantined_job_of_its_own(queue: Queue) -> None:
    for name in ("a.dcm", "b.dcm"):
        arrival = Arrival(name, "A", "", 1.0)
        queue.receive(arrival)
        job = queue.reject(arrival, "no DICOM", f"quarantine/{name}", now=2.0)
        assert (job.state, job.reason, job.series_uid, job.finished) == ("quarantined", "no DICOM", "", 2.0)
        assert [each.file for each in queue.instances(job.id)] == [f"quarantine/{name}"]
    assert queue.arrivals() == []
    assert len(queue.jobs("quarantined")) == 2


def test_files_that_were_not_written_down_are_found_at_start(queue: Queue, tmp_path: Path) -> None:
    file = tmp_path / "incoming" / "a.dcm"
    file.write_bytes(b"pixels")
    os.utime(file, (7, 7))
    assert queue.recover() == ([], ["a.dcm"], [])
    assert queue.arrivals() == [Arrival("a.dcm", "found at start", "", 7.0)]
    assert queue.recover() == ([], [], [])


def test_arrivals_whose_file_is_gone_are_dropped_at_start(queue: Queue) -> None:
    queue.receive(Arrival("a.dcm", "A", "", 1.0))
    assert queue.recover() == ([], [], ["a.dcm"])
    assert queue.arrivals() == []


def test_files_that_were_not_complete_are_removed_at_start(queue: Queue, tmp_path: Path) -> None:
    half = tmp_path / "incoming" / ".tmp-0123"
    half.write_bytes(b"pix")
    assert queue.recover() == ([], [], [])
    assert not half.exists()


def test_a_queue_that_is_opened_again_has_all(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    queue.close()
    again = Queue(queue.database)
    assert again.jobs() == [job]
    again.close()


def test_a_file_that_could_not_be_read_is_released_once(queue: Queue, tmp_path: Path) -> None:
    arrival = Arrival("a.dcm", "A", "", 1.0)
    queue.receive(arrival)
    job = queue.reject(arrival, "no DICOM", "quarantine/a.dcm")
    with pytest.raises(DelineateError, match="has been deleted"):
        queue.release(job.id)
    (tmp_path / "incoming" / "a.dcm").write_bytes(b"moved, and killed then")
    assert queue.release(job.id, now=9.0) == Arrival("a.dcm", "A", "", 9.0)
    with pytest.raises(DelineateError, match="has been deleted"):
        queue.release(job.id)
    assert queue.jobs() == []


def test_a_job_with_a_series_is_not_released(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    with pytest.raises(DelineateError, match="has been deleted"):
        queue.release(job.id)


def test_a_file_that_is_refused_twice_is_one_job(queue: Queue) -> None:
    arrival = Arrival("a.dcm", "A", "", 1.0)
    first = queue.reject(arrival, "no DICOM", "quarantine/a.dcm")
    queue.receive(arrival)
    assert queue.reject(arrival, "no DICOM", "quarantine/a.dcm") == first
    assert queue.arrivals() == []


def test_a_series_waits_for_its_images_anew_when_the_node_starts(queue: Queue, config: NodeConfig) -> None:
    take_in(queue, facts_of(), when=10)
    queue.recover(now=1000)
    assert queue.settle(config, 1000 + IDLE - 1) == []
    assert len(queue.settle(config, 1000 + IDLE)) == 1


def test_nothing_waits_for_a_time_that_the_clock_will_not_show_for_years(tmp_path: Path) -> None:
    config, queue = config_of(tmp_path, completeness={"idle_seconds": IDLE, "at_release": True}), open_queue(tmp_path)
    wrong, right = 2e9, 1e9
    sent = done_job(queue, config, series="1.9", sop_uid="1.9.1")
    (delivery,) = queue.deliveries(sent.id)
    queue.not_delivered(delivery.id, "refused", wrong)
    idle = take_in(queue, facts_of("1.1", "1.1.1"), when=wrong)
    released = take_in(queue, facts_of("1.2", "1.2.1"), when=wrong, association="a")
    queue.released("a", wrong)
    queue.receive(Arrival("unread.dcm", "SCANNER", "", wrong))
    assert queue.settle(config, right + IDLE) == []
    queue.turn_back(config, right)
    assert [job.id for job in queue.settle(config, right - 1)] == []
    assert [arrival.when for arrival in queue.arrivals()] == [right]
    queue.reject(queue.arrivals()[0], "broken", "quarantine/unread.dcm")
    assert [job.id for job in queue.settle(config, right)] == [released.id]
    assert [job.id for job in queue.settle(config, right + IDLE)] == [idle.id]
    assert queue.due(right + 3600)
    queue.close()
