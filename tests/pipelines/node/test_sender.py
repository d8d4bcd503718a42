from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import CR, archive, listening, outgoing, silent
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from web_servers import Reply, in_json, web_server

from delineate.pipelines.exchange import Answer
from delineate.pipelines.exchange.dimse import Report
from delineate.pipelines.node import sender
from delineate.pipelines.node.audit import Audit, events
from delineate.pipelines.node.configuration.config import NodeConfig, Sending
from delineate.pipelines.node.folders import Folders
from delineate.pipelines.node.queue.queue import Arrival, Facts, Job, NewDelivery, Queue
from delineate.pipelines.node.receiving.receiver import Receiver

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")


class Node:
    """A queue with a job whose result is to be sent, and what sends it."""

    def __init__(self, folder: Path, *destinations: dict[str, Any], **sending: float) -> None:
        rules = [{"name": "rule", "bundle": "b", "send_to": [one["name"] for one in destinations]}]
        pauses = {"pause": 0.05, "longest_pause": 0.1} | sending
        listens = {"address": "127.0.0.1", "port": 0, "callers": [{"ae_title": "ARCHIVE"}]}
        content = {"folder": folder, "rules": rules, **listens, "destinations": destinations, "sending": pauses}
        self.config = NodeConfig.model_validate(content)
        folders = Folders(folder)
        folders.make()
        self.queue, self.audit = Queue(folders.database), Audit(folders.audit)
        self.images = outgoing(folder / "results", 2)

    def job(self, series: str = "1.2", destinations: tuple[str, ...] = ()) -> Job:
        """A job that is done."""
        arrival = Arrival(f"{series}.dcm", "PEER 127.0.0.1", "", time.time() - 100)
        self.queue.receive(arrival)
        self.queue.file(arrival, Facts("1", series, f"{series}.1", CR, "CR"), series, f"series/{series}.dcm")
        self.queue.settle(self.config, time.time())
        job = self.queue.next_job()
        assert job is not None
        names = destinations or [one.name for one in self.config.destinations]
        objects = [(one.sop_uid, one.sop_class, str(one.file.relative_to(self.config.folder))) for one in self.images]
        self.queue.done(job.id, "model", [NewDelivery(name, *one) for name in names for one in objects])
        return self.queue.job(job.id)

    @contextmanager
    def sending(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=sender.send, args=(self.config, self.queue, self.audit, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()

    def wait(self, job: Job, state: str) -> None:
        for _ in range(400):
            if self.queue.job(job.id).state == state:
                return
            time.sleep(0.02)
        raise AssertionError(f"{self.queue.job(job.id)} {self.queue.deliveries(job.id)}")

    def told(self, job: Job) -> list[str]:
        return [event["event"] for event in events(Folders(self.config.folder).audit, job.id)]


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    made: list[Node] = []
    yield made
    for node in made:
        node.queue.close()


def dicom(port: int, name: str = "pacs", **more: Any) -> dict[str, Any]:
    return {"name": name, "host": "127.0.0.1", "port": port, "ae_title": "ARCHIVE"} | more


def test_a_result_is_sent_to_each_destination_over_one_association(tmp_path: Path, nodes: list[Node]) -> None:
    def confirm(request: Any) -> Reply:
        uid = next(one.sop_uid for one in nodes[0].images if one.sop_uid.encode() in request.body)
        return in_json({"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}}]}})

    with archive() as there, web_server(confirm) as (url, asked):
        nodes.append(node := Node(tmp_path, dicom(there.port), {"name": "web", "url": url}))
        job = node.job()
        with node.sending():
            node.wait(job, "sent")
    assert [dataset.SOPInstanceUID for dataset in there.stored] == [one.sop_uid for one in node.images]
    assert (len(there.connections), len(asked)) == (1, 2)
    assert node.told(job) == ["sent"] * 4


def test_a_dead_destination_holds_up_no_other(tmp_path: Path, nodes: list[Node]) -> None:
    with archive() as there, listening(silent) as dead:
        nodes.append(node := Node(tmp_path, dicom(dead, "dead"), dicom(there.port)))
        job = node.job()
        stop = threading.Event()
        threading.Thread(target=sender.send, args=(node.config, node.queue, node.audit, stop), daemon=True).start()
        for _ in range(200):
            states = {(one.destination, one.state) for one in node.queue.deliveries(job.id)}
            if ("pacs", "sent") in states and ("pacs", "pending") not in states:
                break
            time.sleep(0.02)
        stop.set()
    assert states == {("dead", "pending"), ("pacs", "sent")}


def test_what_was_refused_is_tried_again_until_it_is_taken(tmp_path: Path, nodes: list[Node]) -> None:
    left = [0xA700, 0xC000, 0xB000]
    with archive(lambda event: left.pop() if left else 0x0000) as there:
        nodes.append(node := Node(tmp_path, dicom(there.port)))
        job = node.job()
        with node.sending():
            node.wait(job, "sent")
    assert {dataset.SOPInstanceUID for dataset in there.stored} == {one.sop_uid for one in node.images}
    assert sorted(node.told(job)) == ["not sent"] * 3 + ["sent"] * 2


def test_it_is_given_up_at_last_and_may_be_retried(tmp_path: Path, nodes: list[Node]) -> None:
    refuses = [True]
    with archive(lambda event: 0xA700 if refuses else 0x0000) as there:
        nodes.append(node := Node(tmp_path, dicom(there.port), give_up_after=0.2))
        job = node.job()
        with node.sending():
            node.wait(job, "failed")
            assert "pacs: ARCHIVE at 127.0.0.1" in node.queue.job(job.id).reason
            refuses.clear()
            node.queue.retry(job.id)
            node.wait(job, "sent")
    assert "given up" in node.told(job)


def test_a_destination_that_is_gone_from_the_configuration_is_given_up(tmp_path: Path, nodes: list[Node]) -> None:
    nodes.append(node := Node(tmp_path, dicom(1)))
    job = node.job(destinations=("gone",))
    with node.sending():
        node.wait(job, "failed")
    assert "no destination is called gone any more; put it back into node.yaml" in node.queue.job(job.id).reason


def test_one_that_is_retried_while_its_destination_is_gone_is_given_up_again(
    tmp_path: Path, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_UNKNOWN", 0.02)
    nodes.append(node := Node(tmp_path, dicom(1)))
    job = node.job(destinations=("gone",))
    with node.sending():
        node.wait(job, "failed")
        node.queue.retry(job.id)
        node.wait(job, "failed")
    assert node.told(job).count("given up") >= 3


def test_what_goes_wrong_is_one_line_and_tried_again(
    tmp_path: Path, nodes: list[Node], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        monkeypatch.undo()
        raise ValueError("of a\nstranger")

    monkeypatch.setattr(sender, "_send_job", fail)
    with archive() as there:
        nodes.append(node := Node(tmp_path, dicom(there.port)))
        job = node.job()
        with node.sending():
            node.wait(job, "sent")
    (record,) = (one for one in caplog.records if one.name == sender.__name__)
    assert "sending to pacs failed (ValueError: of a" in record.message
    assert "\n" not in record.message
    assert record.exc_info is None


def test_pauses_grow_to_the_longest_and_end() -> None:
    sending = Sending(pause=10, longest_pause=3600, give_up_after=604800)
    assert [sender.pause_before(number, sending) for number in (1, 2, 3, 9, 10, 10**6)] == [
        10,
        20,
        40,
        2560,
        3600,
        3600,
    ]
    assert not sender.is_given_up(170, sending)
    assert sender.is_given_up(180, sending)


def report(told: Dataset, failed: bool = False) -> Dataset:
    made = Dataset()
    made.TransactionUID = told.TransactionUID
    committed, refused = list(told.ReferencedSOPSequence), []
    if failed:
        refused = [committed.pop()]
        refused[0].FailureReason = 0x0112
    made.ReferencedSOPSequence = committed
    if refused:
        made.FailedSOPSequence = refused
    return made


def test_with_commitment_it_is_sent_only_when_that_is_there(tmp_path: Path, nodes: list[Node]) -> None:
    asked: list[Any] = []

    def act(event: Any) -> int:
        """Answers for all but one at first."""
        told = report(event.action_information, failed=not asked)
        asked.append(told)
        kind = 2 if "FailedSOPSequence" in told else 1
        words = (told, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        threading.Timer(0.1, event.assoc.send_n_event_report, words).start()
        return 0x0000

    with archive(on_action=act) as there:
        nodes.append(node := Node(tmp_path, dicom(there.port, commitment=True)))
        job = node.job()
        with node.sending():
            node.wait(job, "sent")
    assert [len(told.ReferencedSOPSequence) for told in asked] == [1, 1]
    assert sorted(node.told(job)) == ["not sent", "sent", "sent", "stored", "stored", "stored"]


def test_a_peer_that_offers_no_commitment_has_not_got_it(tmp_path: Path, nodes: list[Node]) -> None:
    with archive() as there:
        nodes.append(node := Node(tmp_path, dicom(there.port, commitment=True), give_up_after=0.01))
        job = node.job()
        with node.sending():
            node.wait(job, "failed")
    assert "does not take Storage Commitment Push Model SOP Class" in node.queue.job(job.id).reason


def test_a_report_that_comes_later_is_taken_once(tmp_path: Path, nodes: list[Node]) -> None:
    nodes.append(node := Node(tmp_path, dicom(1, commitment=True)))
    job = node.job()
    one, other = node.queue.deliveries(job.id)
    for delivery in (one, other):
        node.queue.committing(delivery.id, "2.25.1")
    said = Report("2.25.1", (one.sop_uid,), (Answer(other.sop_uid, "does not have it"),))
    for _ in range(2):
        sender.settle_report(said, node.config, node.queue, node.audit)
    sender.settle_report(Report("2.25.2", (other.sop_uid,), ()), node.config, node.queue, node.audit)
    after = node.queue.deliveries(job.id)
    assert [(delivery.state, delivery.attempts) for delivery in after] == [("sent", 1), ("pending", 1)]
    assert after[1].reason == "pacs does not answer for its storage: it does not have it"
    assert node.told(job) == ["sent", "not sent"]


def test_a_handler_answers_what_it_is_told() -> None:
    class Told:
        event_information = Dataset()

    class Heard:
        def write(self, event: str, **facts: object) -> None:
            heard.append(event)

    heard: list[str] = []
    nothing: Any = None
    audit: Any = Heard()
    assert sender.handle_commitment(Told(), nothing, nothing, audit) == (0x0110, None)
    assert heard == ["commitment not understood"]


def telling(port: int, told: Dataset) -> int | None:
    """The status that a report is answered with over an association of its own; none where there is no answer."""
    entity = AE("ARCHIVE")
    entity.add_requested_context(StorageCommitmentPushModel)
    role = [build_role(StorageCommitmentPushModel, scp_role=True)]
    association = entity.associate("127.0.0.1", port, ae_title="DELINEATE", ext_neg=role)
    if not association.is_established:
        return None
    answer, _ = association.send_n_event_report(told, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    association.release()
    return answer.get("Status")


@pytest.mark.parametrize(("commitment", "state", "status"), [(True, "sent", 0x0000), (False, "pending", None)])
def test_a_report_comes_to_the_port_of_the_node(
    tmp_path: Path, nodes: list[Node], commitment: bool, state: str, status: int | None
) -> None:
    nodes.append(node := Node(tmp_path, dicom(1, commitment=commitment)))
    job = node.job()
    one, other = node.queue.deliveries(job.id)
    for delivery in (one, other):
        node.queue.committing(delivery.id, "2.25.1")
    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = "2.25.1", []
    for delivery in (one, other):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = delivery.sop_class, delivery.sop_uid
        asked.ReferencedSOPSequence.append(item)
    receiver = Receiver(node.config, node.queue, node.audit)
    receiver.start()
    try:
        assert telling(receiver.port, asked) == status
        asked.TextValue = "x" * 2**20
        assert telling(receiver.port, asked) is None
    finally:
        receiver.stop()
    assert {delivery.state for delivery in node.queue.deliveries(job.id)} == {state}


def test_a_commitment_that_never_came_is_asked_for_again(tmp_path: Path, nodes: list[Node]) -> None:
    with archive(on_action=lambda event: 0x0000) as there:
        nodes.append(node := Node(tmp_path, dicom(there.port, commitment=True)))
        job = node.job()
        for delivery in node.queue.deliveries(job.id):
            node.queue.committing(delivery.id, "2.25.1", patience=0)
        stop = threading.Event()
        sender._send_due(node.config.destinations[0], node.config, node.queue, node.audit, stop)
    assert {one.reason for one in node.queue.deliveries(job.id)} == {
        "pacs did not report on its storage commitment in time; it is sent once more"
    }
    assert {one.transaction for one in node.queue.deliveries(job.id)} == {None}
