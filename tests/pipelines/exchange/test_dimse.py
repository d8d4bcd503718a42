from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from certificates import signed
from dicom_peers import CR, archive, listening, outgoing, same, serving, silent, through
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from delineate.pipelines.exchange import Certificates, ExchangeError, Outgoing
from delineate.pipelines.exchange.dimse import (
    Peer,
    Report,
    accept_reports,
    echo,
    read_report,
    request_commitment,
    store,
)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")  # pynetdicom's, where nobody is there
TRANSACTION = "2.25.1"


def peer(port: int, **changes: Any) -> Peer:
    return Peer("127.0.0.1", port, **({"ae_title": "ARCHIVE", "answer_seconds": 5} | changes))


def reasons(port: int, instances: list[Outgoing], **changes: Any) -> list[str]:
    answers = list(store(peer(port, **changes), instances))
    assert [answer.sop_uid for answer in answers] == [one.sop_uid for one in instances]
    assert all("\n" not in answer.reason for answer in answers)
    return [answer.reason for answer in answers]


def test_what_is_stored_is_what_was_sent_over_one_association(tmp_path: Path) -> None:
    images = outgoing(tmp_path, 3)
    with archive() as there:
        assert reasons(there.port, images) == ["", "", ""]
        assert len(there.connections) == 1
        assert all(same(dataset, image.file) for dataset, image in zip(there.stored, images, strict=True))


def test_a_peer_of_implicit_vr_alone_is_served(tmp_path: Path) -> None:
    (image,) = outgoing(tmp_path)
    with archive(syntaxes=[ImplicitVRLittleEndian]) as there:
        assert reasons(there.port, [image]) == [""]
        assert there.stored[0].file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        assert same(there.stored[0], image.file)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0xA700, "is out of resources (status 0xA700)"),
        (0xA900, "says that it does not fit its SOP class (status 0xA900)"),
        (0xC123, "cannot understand it (status 0xC123)"),
        (0xB000, "stored it with other values in place of ours (status 0xB000)"),
        (0x0124, "does not authorise us to store (status 0x0124)"),
        (0x1234, "refused (status 0x1234)"),
    ],
)
def test_each_instance_has_the_status_of_its_own(tmp_path: Path, status: int, reason: str) -> None:
    images = outgoing(tmp_path, 3)
    with archive(lambda event: status if event.request.AffectedSOPInstanceUID == images[1].sop_uid else 0) as there:
        assert reasons(there.port, images) == ["", f"ARCHIVE at 127.0.0.1:{there.port} {reason}", ""]


def test_what_a_peer_says_of_an_error_is_passed_on(tmp_path: Path) -> None:
    def answer(event: evt.Event) -> Any:
        said = Dataset()
        said.Status, said.ErrorComment = 0xA700, "the disk is full"
        return said

    with archive(answer) as there:
        (reason,) = reasons(there.port, outgoing(tmp_path))
    assert reason.endswith("is out of resources (status 0xA700): the disk is full")


def test_a_sop_class_that_is_not_taken_leaves_the_others(tmp_path: Path) -> None:
    one, other = outgoing(tmp_path, 2)
    with archive() as there:
        found = reasons(there.port, [one._replace(sop_class=str(SegmentationStorage)), other])
    assert "does not take Segmentation Storage (1.2.840.10008.5.1.4.1.1.66.4); allow it there" in found[0]
    assert found[1] == ""


def test_a_peer_that_takes_no_sop_class_at_all_is_told_by_name(tmp_path: Path) -> None:
    with archive(sop_classes=[]) as there:
        (reason,) = reasons(there.port, outgoing(tmp_path))
    assert reason.endswith(
        "does not take Computed Radiography Image Storage (1.2.840.10008.5.1.4.1.1.1); allow it there"
    )


def test_a_file_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    broken, missing, image = outgoing(tmp_path, 3)
    broken.file.write_bytes(b"x")
    missing.file.unlink()
    with archive() as there:
        found = reasons(there.port, [broken, missing, image])
    assert found[0].startswith("0.dcm cannot be read")
    assert found[1].startswith("1.dcm cannot be read")
    assert found[2] == ""


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"ae_title": "OTHER", "require_called_aet": True}, "is not called ARCHIVE; correct its AE title here"),
        ({"require_calling_aet": ["OTHER"]}, "does not know our AE title, DELINEATE; declare it there"),
        ({"maximum_associations": 1}, "has too many associations; it will take more later"),
    ],
)
def test_a_rejection_says_what_to_do(tmp_path: Path, settings: dict[str, Any], reason: str) -> None:
    with archive(**settings) as there:
        held = AE()
        held.add_requested_context(CR)
        before = held.associate("127.0.0.1", there.port) if "maximum_associations" in settings else None
        assert reasons(there.port, outgoing(tmp_path)) == [f"ARCHIVE at 127.0.0.1:{there.port} {reason}"]
        if before:
            before.release()


def test_a_peer_that_aborts_leaves_the_rest_with_a_reason(tmp_path: Path) -> None:
    images = outgoing(tmp_path, 3)

    def answer(event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID == images[1].sop_uid:
            event.assoc.abort()
        return 0

    with archive(answer) as there:
        found = reasons(there.port, images)
    assert found[0] == ""
    assert all(reason.endswith("broke off in place of an answer") for reason in found[1:])


def test_a_peer_that_ends_between_two_messages_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(association: Association, *_: object) -> None:
        association.abort()
        raise RuntimeError("The association with a peer SCP must be established")

    for name in ("send_c_echo", "send_c_store", "send_n_action"):
        monkeypatch.setattr(Association, name, end)
    with archive(on_action=lambda event: 0) as there:
        said = f"ARCHIVE at 127.0.0.1:{there.port} ended the association"
        assert reasons(there.port, outgoing(tmp_path, 2)) == [said] * 2
        with pytest.raises(ExchangeError, match=said):
            echo(peer(there.port))
        with pytest.raises(ExchangeError, match=said):
            request_commitment(peer(there.port), TRANSACTION, outgoing(tmp_path))


def test_a_silent_peer_holds_up_no_process_that_ends(tmp_path: Path) -> None:
    with listening(silent) as port:
        before = set(threading.enumerate())
        words = (Peer("127.0.0.1", port, "ARCHIVE", answer_seconds=0.3), outgoing(tmp_path))
        thread = threading.Thread(target=lambda: list(store(*words)), daemon=True)
        thread.start()
        while len(begun := set(threading.enumerate()) - before) < 3 and thread.is_alive():
            time.sleep(0.001)
        thread.join()
    assert len(begun) >= 3
    assert all(one.daemon for one in begun)


def test_a_peer_that_answers_too_late_is_left(tmp_path: Path) -> None:
    gone = threading.Event()
    with archive(lambda event: int(gone.wait(10)) * 0) as there:
        began = time.monotonic()
        found = reasons(there.port, outgoing(tmp_path, 2), answer_seconds=0.3)
        gone.set()
    assert found[0].endswith("gave no answer within 0.3 s")
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        (lambda connection: connection.close(), "broke off in place of an answer"),
        (lambda connection: connection.shutdown(socket.SHUT_WR), "broke off in place of an answer"),
        (lambda connection: time.sleep(1), "gave no answer within 0.5 s"),
    ],
    ids=["closes", "half-closes", "stops reading"],
)
def test_a_peer_that_ends_in_the_middle_of_an_object_is_left(tmp_path: Path, then: Any, reason: str) -> None:
    (image,) = outgoing(tmp_path, size=4000)
    with archive() as there, through(there.port, 100_000, then) as port:
        assert reasons(port, [image], answer_seconds=0.5) == [f"ARCHIVE at 127.0.0.1:{port} {reason}"]
        assert there.stored == []


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (silent, "accepts the connection, but says nothing within 0.3 s; is it a DICOM port?"),
        (lambda connection: None, "ends the association before it begins; is it a DICOM port, and does it expect TLS?"),
        (
            lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "ends the association before it begins; is it a DICOM port, and does it expect TLS?",
        ),
    ],
    ids=["says nothing", "closes", "is a web server"],
)
def test_what_is_no_dicom_port_is_told(tmp_path: Path, serve: Any, reason: str) -> None:
    with listening(serve) as port:
        assert reasons(port, outgoing(tmp_path), answer_seconds=0.3) == [f"ARCHIVE at 127.0.0.1:{port} {reason}"]


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with listening(silent) as port:
        pass
    (reason,) = reasons(port, outgoing(tmp_path))
    assert reason.endswith("cannot be reached (Connection refused); is it running, and is this its port?")
    (answer,) = store(Peer("no.such.host.invalid", 104, "ARCHIVE"), outgoing(tmp_path))
    assert answer.reason == "ARCHIVE at no.such.host.invalid:104: no such host is known; check its name"


def test_echo_is_answered_or_says_why() -> None:
    with archive() as there:
        echo(peer(there.port))
    with pytest.raises(ExchangeError, match=r"cannot be reached \(Connection refused\)"):
        echo(peer(there.port))


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    ours, others = signed(tmp_path / "ours"), signed(tmp_path / "others")
    images = outgoing(tmp_path / "images")
    trusted = Certificates(ours.ca, ours.certificate, ours.key)
    with archive(tls=ours.server(client_certificate=True)) as there:
        assert reasons(there.port, images, tls=trusted) == [""]
        (reason,) = reasons(there.port, images, tls=Certificates(others.ca, ours.certificate, ours.key))
        assert "cannot be spoken to by TLS (CERTIFICATE_VERIFY_FAILED)" in reason
        assert reasons(there.port, images, tls=Certificates(ours.ca))[0]
        assert reasons(there.port, images, answer_seconds=0.3)[0]
        (reason,) = reasons(there.port, images, tls=Certificates(tmp_path / "none.pem"))
        assert reason.endswith("none.pem: cannot be used for TLS (No such file or directory); name PEM files")
        assert len(there.stored) == 1


def report(transaction: str, committed: list[Outgoing], failed: list[Outgoing] = []) -> Dataset:  # noqa: B006
    def items(instances: list[Outgoing], **more: Any) -> list[Dataset]:
        made = []
        for one in instances:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class, one.sop_uid
            item.update(more)
            for name, value in more.items():
                setattr(item, name, value)
            made.append(item)
        return made

    told = Dataset()
    told.TransactionUID = transaction
    told.ReferencedSOPSequence = items(committed)
    if failed:
        told.FailedSOPSequence = items(failed, FailureReason=0x0112)
    return told


def send_report(association: Any, told: Dataset) -> int:
    kind = 2 if "FailedSOPSequence" in told else 1
    answer = association.send_n_event_report(told, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    return int(answer[0].Status)


def test_storage_commitment_is_reported_on_the_same_association(tmp_path: Path) -> None:
    one, other = outgoing(tmp_path, 2)
    asked: list[Dataset] = []

    def act(event: evt.Event) -> int:
        asked.append(event.action_information)
        told = report(event.action_information.TransactionUID, [one], [other])
        threading.Timer(0.1, send_report, (event.assoc, told)).start()
        return 0x0000

    with archive(on_action=act) as there:
        found = request_commitment(peer(there.port), TRANSACTION, [one, other])
    assert [item.ReferencedSOPInstanceUID for item in asked[0].ReferencedSOPSequence] == [one.sop_uid, other.sop_uid]
    assert found == Report(TRANSACTION, (one.sop_uid,), ((other.sop_uid, "does not have it (status 0x0112)"),))


def test_storage_commitment_may_be_reported_later(tmp_path: Path) -> None:
    (image,) = outgoing(tmp_path)
    found: list[Report] = []

    def take(event: evt.Event) -> tuple[int, None]:
        found.append(read_report(event))
        return 0x0000, None

    entity = AE("DELINEATE")
    accept_reports(entity)
    with archive(on_action=lambda event: 0x0000) as there:
        assert request_commitment(peer(there.port), TRANSACTION, [image], wait_seconds=0.1) is None
    with serving(entity, [(evt.EVT_N_EVENT_REPORT, take)]) as port:
        for roles in (True, False):  # some archives forget to say that they are the provider
            caller = AE("ARCHIVE")
            caller.add_requested_context(StorageCommitmentPushModel)
            role = [build_role(StorageCommitmentPushModel, scp_role=True)] if roles else []
            association = caller.associate("127.0.0.1", port, ext_neg=role)
            assert send_report(association, report(TRANSACTION, [image])) == 0x0000
            association.release()
    assert found == [Report(TRANSACTION, (image.sop_uid,), ())] * 2


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (None, "does not take Storage Commitment Push Model SOP Class"),
        (lambda event: 0x0213, "asked for storage commitment, is out of resources (status 0x0213)"),
    ],
)
def test_a_peer_without_storage_commitment_is_told(tmp_path: Path, act: Any, reason: str) -> None:
    with archive(on_action=act) as there, pytest.raises(ExchangeError, match=reason.replace("(", r"\(").split(")")[0]):
        request_commitment(peer(there.port), TRANSACTION, outgoing(tmp_path))


class _Told:
    def __init__(self, information: Any) -> None:
        self._information = information

    @property
    def event_information(self) -> Any:
        if isinstance(self._information, Exception):
            raise self._information
        return self._information


@pytest.mark.parametrize("information", [Dataset(), None, ValueError("x"), NotImplementedError()])
def test_a_report_that_is_none_is_refused(information: Any) -> None:
    with pytest.raises(ExchangeError, match="cannot be understood"):
        read_report(_Told(information))  # type: ignore[arg-type]
