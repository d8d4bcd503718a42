from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from node_parts import IDLE, RESULT, config_of, done_job, facts_of, open_queue, put_result, ready_job, take_in

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.queue.queue import NewDelivery, Queue


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = open_queue(tmp_path)
    put_result(queue)
    yield queue
    queue.close()


def test_a_job_is_claimed_once(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    claimed = queue.next_job(IDLE)
    assert claimed is not None
    assert (claimed.id, claimed.state, claimed.attempts, claimed.started) == (job.id, "running", 1, IDLE)
    assert queue.next_job(IDLE) is None


def test_the_job_that_waits_longest_is_next(queue: Queue, config: NodeConfig) -> None:
    for when, series in ((2.0, "1.2"), (1.0, "1.1"), (3.0, "1.3")):
        take_in(queue, facts_of(series), when=when)
    queue.settle(config, 100)
    claimed = [queue.next_job(100) for _ in range(3)]
    assert [job.series_uid for job in claimed if job] == ["1.1", "1.2", "1.3"]


def test_no_two_threads_and_no_two_processes_claim_one_job(queue: Queue, config: NodeConfig) -> None:
    for number in range(40):
        take_in(queue, facts_of(f"1.{number}"))
    queue.settle(config, IDLE)
    other = Queue(queue.database)  # as another process has it
    claimed: list[str] = []

    def claim(queue: Queue) -> None:
        while job := queue.next_job(IDLE):
            claimed.append(job.id)

    threads = [Thread(target=claim, args=(each,)) for each in (queue, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(claimed) == sorted(job.id for job in queue.jobs())


def test_a_job_is_sent_with_its_last_delivery(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    queue.next_job(IDLE)
    queue.done(job.id, "model", [RESULT, NewDelivery("archive", *list(vars(RESULT).values())[1:])])
    first, second = queue.due(IDLE)
    queue.delivered(first.id)
    assert queue.job(job.id).state == "done"
    queue.delivered(second.id)
    assert queue.job(job.id).state == "sent"
    assert [each.state for each in queue.deliveries(job.id)] == ["sent", "sent"]


def test_a_result_that_goes_nowhere_is_done(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    queue.next_job(IDLE)
    queue.done(job.id, "model", [])
    assert queue.job(job.id).state == "done"


def test_due_is_of_one_destination_where_one_is_named(queue: Queue, config: NodeConfig) -> None:
    done_job(queue, config)
    assert [each.destination for each in queue.due(IDLE)] == ["pacs"]
    assert queue.due(IDLE, "archive") == []
    assert queue.waiting_deliveries() == {"pacs": 1}


def test_what_was_not_delivered_is_due_when_its_pause_is_over(queue: Queue, config: NodeConfig) -> None:
    done_job(queue, config)
    (delivery,) = queue.due(IDLE)
    queue.not_delivered(delivery.id, "refused: 0xA700", next_try=60)
    assert queue.due(59) == []
    (again,) = queue.due(60)
    assert (again.attempts, again.reason) == (1, "refused: 0xA700")


def test_a_job_has_failed_when_one_of_its_deliveries_is_given_up(queue: Queue, config: NodeConfig) -> None:
    job = done_job(queue, config)
    (delivery,) = queue.due(IDLE)
    queue.not_delivered(delivery.id, "refused", next_try=60, give_up=True)
    failed = queue.job(job.id)
    assert (failed.state, failed.reason) == ("failed", "pacs: refused")
    assert queue.due(1e12) == []


def test_a_commitment_that_is_waited_for_is_not_due(queue: Queue, config: NodeConfig) -> None:
    job = done_job(queue, config)
    (delivery,) = queue.due(IDLE)
    queue.committing(delivery.id, "2.25.7", now=IDLE, patience=100)
    assert queue.due(IDLE + 99) == []
    assert [each.transaction for each in queue.in_transaction("2.25.7")] == ["2.25.7"]
    assert queue.committed("2.25.7", ["another"]) == []
    assert [each.id for each in queue.committed("2.25.7", [RESULT.sop_uid])] == [delivery.id]
    assert queue.job(job.id).state == "sent"


def test_a_commitment_that_never_came_is_asked_for_again(queue: Queue, config: NodeConfig) -> None:
    done_job(queue, config)
    (delivery,) = queue.due(IDLE)
    queue.committing(delivery.id, "2.25.7", now=IDLE, patience=100)
    assert [each.id for each in queue.due(IDLE + 100)] == [delivery.id]


def test_a_job_that_crashes_is_tried_as_often_as_is_said_and_quarantined_then(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    for state in ("ready", "quarantined"):
        assert queue.next_job(IDLE) is not None
        assert queue.failed_attempt(job.id, "crashed", most_attempts=2).state == state
    assert queue.next_job(IDLE) is None
    assert queue.job(job.id).reason == "crashed"


def test_the_end_of_the_node_is_no_failure_of_its_job(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    for attempt in range(1, 6):
        claimed = queue.next_job(IDLE)
        assert claimed is not None
        assert claimed.attempts == attempt
        assert [each.id for each in queue.recover()[0]] == [job.id]
    queue.next_job(IDLE)
    assert queue.failed_attempt(job.id, "crashed", most_attempts=2).state == "ready"


def test_only_what_runs_can_be_finished(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    with pytest.raises(DelineateError, match="does not run"):
        queue.done(job.id, "model", [RESULT])
    with pytest.raises(DelineateError, match="does not run"):
        queue.quarantine(job.id, "broken")
    assert queue.job(job.id) == job


def test_the_same_images_with_the_same_model_are_not_computed_twice(queue: Queue, config: NodeConfig) -> None:
    first = done_job(queue, config)
    for content in (b"others", b"pixels"):  # the first come back in place of the others
        take_in(queue, facts_of(), content, when=50)
        queue.settle(config, 100)
        job = queue.next_job(100)
        assert job is not None
        again = queue.same_as(job.id, "model")
        assert again == (None if content == b"others" else first.id)
        assert queue.same_as(job.id, "another model") is None
        if again:
            queue.done_before(job.id, again, "model")
            assert queue.job(job.id).state == "sent"
            assert queue.job(job.id).reason == f"same images and model as job {first.id[:12]}: not done again"
            assert queue.deliveries(job.id) == []
        else:
            queue.done(job.id, "model", [RESULT])


def test_a_result_that_did_not_arrive_is_none_that_others_can_have(queue: Queue, config: NodeConfig) -> None:
    done_job(queue, config)
    queue.not_delivered(queue.due(IDLE)[0].id, "refused", 0, give_up=True)
    for content in (b"others", b"pixels"):
        take_in(queue, facts_of(), content, when=50)
        queue.settle(config, 100)
        third = queue.next_job(100)
        assert third is not None
    assert queue.same_as(third.id, "model") is None


def test_what_is_tried_again_by_hand_is_computed_again(queue: Queue, config: NodeConfig) -> None:
    job = done_job(queue, config)
    queue.delivered(queue.due(IDLE)[0].id)
    assert queue.retry(job.id).state == "ready"
    assert queue.deliveries(job.id) == []
    claimed = queue.next_job(IDLE)
    assert claimed is not None
    assert claimed.attempts == 2
    queue.done(job.id, "model", [RESULT])
    assert [each.state for each in queue.deliveries(job.id)] == ["pending"]


def test_a_result_that_was_not_sent_is_only_sent_again(queue: Queue, config: NodeConfig) -> None:
    job = done_job(queue, config)
    queue.not_delivered(queue.due(IDLE)[0].id, "refused", 1e9, give_up=True)
    assert queue.retry(job.id).state == "done"
    assert queue.next_job(IDLE) is None
    queue.delivered(queue.due(IDLE)[0].id)
    assert queue.job(job.id).state == "sent"


def test_a_quarantined_job_has_all_its_attempts_again(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    queue.next_job(IDLE)
    queue.failed_attempt(job.id, "crashed", most_attempts=1)
    queue.retry(job.id)
    queue.next_job(IDLE)
    assert queue.failed_attempt(job.id, "crashed", most_attempts=2).state == "ready"


def test_a_job_without_a_rule_is_matched_again(queue: Queue, config: NodeConfig, tmp_path: Path) -> None:
    job = ready_job(queue, config, modality="MR")
    assert job.state == "done"
    queue.retry(job.id, now=50)
    rule = {"name": "mr", "match": {"modality": "MR"}, "bundle": "nerve"}
    assert [each.rule for each in queue.settle(config_of(tmp_path, rules=[rule]), 50)] == ["mr"]


def test_what_waits_or_runs_is_not_tried_again(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    with pytest.raises(DelineateError, match="is ready: it is done as soon as it can be"):
        queue.retry(job.id)


def test_a_job_is_found_by_the_beginning_of_its_id(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    assert queue.job(job.id[:6]) == job


@pytest.mark.parametrize("prefix", ["", "z", "%", "\x1b[31m"])
def test_an_id_that_is_none_is_said_so(queue: Queue, config: NodeConfig, prefix: str) -> None:
    ready_job(queue, config)
    with pytest.raises(DelineateError, match="no job has an id that begins with") as error:
        queue.job(prefix)
    assert "\x1b" not in str(error.value)


def test_a_prefix_of_several_ids_is_refused(queue: Queue) -> None:
    ids = [take_in(queue, facts_of(f"1.{number}")).id for number in range(17)]
    shared = next(one for one in "0123456789abcdef" if sum(each.startswith(one) for each in ids) > 1)
    with pytest.raises(DelineateError, match="several jobs"):
        queue.job(shared)


def test_jobs_are_listed_newest_first_and_by_state(queue: Queue, config: NodeConfig) -> None:
    old = done_job(queue, config, series="1.1")
    take_in(queue, facts_of("1.2"), when=50)
    assert [job.state for job in queue.jobs()] == ["received", "done"]
    assert [job.id for job in queue.jobs("done")] == [old.id]
    assert len(queue.jobs(limit=1)) == 1
    assert queue.counts() == dict.fromkeys(("ready", "running", "sent", "failed", "quarantined"), 0) | {
        "received": 1,
        "done": 1,
    }


def test_the_oldest_that_waits_is_known(queue: Queue, config: NodeConfig) -> None:
    assert queue.oldest_waiting() is None
    take_in(queue, facts_of(), when=7)
    assert queue.oldest_waiting() == 7
    queue.settle(config, 100)
    job = queue.next_job(100)
    assert job is not None
    assert queue.oldest_waiting() == 7
    queue.done(job.id, "model", [])
    assert queue.oldest_waiting() is None


def test_a_job_that_is_given_back_is_claimed_later_and_has_not_failed(queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    queue.next_job(IDLE)
    queue.give_back(job.id, "no memory", next_try=90)
    assert queue.next_job(89) is None
    assert queue.next_job(90) is not None
    assert queue.failed_attempt(job.id, "crashed", most_attempts=2).state == "ready"


def test_what_was_under_way_when_a_job_is_tried_again_does_not_end_the_new_try(
    queue: Queue, config: NodeConfig
) -> None:
    job = done_job(queue, config)
    (old,) = queue.due(IDLE)
    queue.retry(job.id)
    queue.not_delivered(old.id, "refused", 0, give_up=True)
    queue.delivered(old.id)
    assert queue.job(job.id).state == "done"
    assert [(each.attempts, each.reason) for each in queue.due(IDLE)] == [(0, "")]


def test_a_result_that_is_lost_before_it_is_sent_is_computed_again(
    queue: Queue, config: NodeConfig, tmp_path: Path
) -> None:
    job = done_job(queue, config)
    queue.not_delivered(queue.due(IDLE)[0].id, "cannot be read", 0, give_up=True)
    (tmp_path / RESULT.file).unlink()
    assert queue.retry(job.id).state == "ready"
    assert queue.deliveries(job.id) == []
