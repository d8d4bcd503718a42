from __future__ import annotations

import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from certificates import Signed, signed
from dicom_files import write_image
from pydicom import dcmread
from pydicom._uid_dict import UID_dictionary
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom.sop_class import Verification
from receiving import (
    ABORTED,
    ACCEPTED,
    CLOSED,
    COMMAND,
    DATA,
    LAST,
    STORE,
    Node,
    Wire,
    associate,
    command,
    open_wire,
    part,
    program,
    receiving,
    rejection,
    request,
    resident_mib,
    run,
    status,
    wait_for,
)
from receiving import __file__ as receiving_file

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.imaging.dicom.parsing import SYNTAXES
from delineate.pipelines.node.configuration.config import Caller, Completeness, Tls
from delineate.pipelines.node.receiving.receiver import SOP_CLASSES, TRANSFER_SYNTAXES, Receiver, admits

IMAGE = np.arange(64 * 48, dtype=np.uint8).reshape(64, 48)
UIDS = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with receiving(tmp_path) as found:
        yield found


def image(path: Path, **attributes: object) -> Path:
    return write_image(path, IMAGE, **{**UIDS, **attributes})


def store(node: Node, path: Path, **details: str) -> int:
    dataset = dcmread(path)
    association = associate(node, dataset.SOPClassUID, syntax=dataset.file_meta.TransferSyntaxUID, **details)
    answer = association.send_c_store(dataset)
    association.release()
    return int(answer.Status)


def test_an_echo_is_answered(node: Node) -> None:
    association = associate(node, Verification)
    assert association.send_c_echo().Status == 0
    association.release()
    answer = run(program("echoscu"), "-aec", "NODE", "127.0.0.1", node.port)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("name", ["dcmsend", "storescu"])
def test_what_dcmtk_sends_is_on_the_disk_and_in_the_queue(node: Node, tmp_path: Path, name: str) -> None:
    paths = [image(tmp_path / "sent" / f"{index}.dcm") for index in range(3)]
    answer = run(program(name), "-aec", "NODE", "127.0.0.1", node.port, *paths)
    assert answer.returncode == 0, answer.stderr
    assert [dcmread(path) for path in node.received()] == [dcmread(path) for path in paths]
    peer = {arrival.peer for arrival in node.queue.arrivals()}
    assert peer == {f"{name.upper()} 127.0.0.1"}


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda syntax: syntax.name)
def test_each_transfer_syntax_is_taken_as_it_came(node: Node, tmp_path: Path, syntax: str) -> None:
    dataset = dcmread(image(tmp_path / "image.dcm"))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    if syntax.is_encapsulated:
        dataset.PixelData = encapsulate([b"\xff\xd8not decoded here\xff\xd9"])
        dataset["PixelData"].is_undefined_length = True
    association = associate(node, dataset.SOPClassUID, syntax=syntax)
    assert association.send_c_store(dataset).Status == 0
    association.release()
    (path,) = node.received()
    found = dcmread(path)
    assert found.file_meta.TransferSyntaxUID == syntax
    assert found.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert found.PixelData == dataset.PixelData


def test_the_transfer_syntaxes_are_those_of_the_reader() -> None:
    assert set(TRANSFER_SYNTAXES) == set(SYNTAXES)


def test_every_class_of_images_of_the_standard_is_taken_and_so_are_results() -> None:
    images = {
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and "Image Storage" in name and uid.startswith("1.2.840.10008.5.1.4.1.1.")
    }
    security_and_eddy = {uid for uid in images if uid.split(".")[9] in ("501", "601")}
    assert images - security_and_eddy <= set(SOP_CLASSES)
    assert {SegmentationStorage, ComprehensiveSRStorage, SecondaryCaptureImageStorage} <= set(SOP_CLASSES)


@pytest.mark.parametrize(
    "sop_class", [SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.6"]
)
def test_results_and_retired_images_are_stored(node: Node, tmp_path: Path, sop_class: str) -> None:
    assert store(node, image(tmp_path / "a.dcm", SOPClassUID=sop_class)) == 0
    assert len(node.received()) == 1


def test_a_wrong_called_title_is_rejected_for_good(node: Node) -> None:
    assert rejection(associate(node, called="OTHER")) == (1, 1, 7)
    assert "OTHER" in node.events("association refused")[0]["reason"]


def test_an_unknown_caller_is_rejected_for_good(tmp_path: Path) -> None:
    with receiving(tmp_path, callers=(Caller(ae_title="PACS"), Caller(ae_title="FAR", address="10.1.0.0/16"))) as node:
        assert rejection(associate(node, calling="PEER")) == (1, 1, 3)
        assert rejection(associate(node, calling="FAR")) == (1, 1, 3)
        association = associate(node, calling="PACS")
        assert association.is_established
        association.release()


@pytest.mark.parametrize(
    ("entry", "title", "address", "expected"),
    [
        (("*", "*"), "ANY", "192.0.2.1", True),
        (("PACS", "*"), "OTHER", "192.0.2.1", False),
        (("PACS", "192.0.2.1"), "PACS", "192.0.2.1", True),
        (("PACS", "192.0.2.1"), "PACS", "192.0.2.2", False),
        (("*", "192.0.2.0/24"), "ANY", "192.0.2.255", True),
        (("*", "192.0.2.0/24"), "ANY", "::ffff:192.0.2.7", True),
        (("*", "192.0.2.0/24"), "ANY", "2001:db8::1", False),
        (("*", "fe80::/10"), "ANY", "fe80::1%eth0", True),
    ],
)
def test_a_caller_is_known_by_title_and_address(
    entry: tuple[str, str], title: str, address: str, expected: bool
) -> None:
    assert admits(Caller(ae_title=entry[0], address=entry[1]), title, address) is expected


def test_nobody_is_let_in_where_no_caller_is_named(tmp_path: Path) -> None:
    with receiving(tmp_path, callers=()) as node:
        assert rejection(associate(node)) == (1, 1, 3)


def test_too_many_associations_are_rejected_for_now(tmp_path: Path) -> None:
    with receiving(tmp_path, limits={"associations": 2}) as node:
        first, second = associate(node), associate(node)
        assert rejection(associate(node)) == (2, 3, 2)
        first.release()
        wait_for(lambda: node.receiver.associations == 1)
        third = associate(node)
        assert third.is_established
        third.release()
        second.release()


def test_a_full_disk_rejects_associations_for_now(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Receiver, "_is_full", lambda _: True)
    assert rejection(associate(node)) == (2, 3, 1)


def test_nobody_is_let_in_where_that_cannot_be_decided(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """pynetdicom accepts an association when what is asked whether to do so fails."""

    def fail(_: object) -> int:
        raise OSError("the folder is gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(node.folders), "free_mib", fail)
        association = associate(node)
        assert not association.is_established
        assert node.receiver.associations == 0
    wait_for(lambda: node.events("association refused"))
    assert node.events("association accepted") == []


def test_a_disk_that_fills_up_is_answered_with_out_of_resources(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dcmread(image(tmp_path / "a.dcm"))
    association = associate(node, dataset.SOPClassUID, syntax=ExplicitVRLittleEndian)
    monkeypatch.setattr(Receiver, "_is_full", lambda _: True)
    assert association.send_c_store(dataset).Status == 0xA700
    monkeypatch.undo()
    assert node.received() == []
    assert association.send_c_store(dataset).Status == 0
    association.release()
    assert len(node.received()) == 1


def test_a_disk_that_fails_is_answered_with_out_of_resources(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("delineate.pipelines.node.receiving.incoming.os.fsync", fail)
    assert store(node, image(tmp_path / "a.dcm")) == 0xA700
    monkeypatch.undo()
    assert node.received() == []
    assert store(node, image(tmp_path / "a.dcm")) == 0


def test_what_the_queue_cannot_write_down_is_not_acknowledged(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(node.queue, "receive", fail)
    assert store(node, image(tmp_path / "a.dcm")) == 0xA700
    assert node.received() == []


def test_an_image_beyond_the_limit_is_aborted_and_removed(tmp_path: Path) -> None:
    with receiving(tmp_path, limits={"instance_mib": 1}) as node, open_wire(node) as wire:
        wire.send(part(COMMAND | LAST, command(STORE)), *[part(DATA, bytes(2**15))] * 40)
        assert wire.answer()[0] == ABORTED
        wait_for(lambda: node.events("association aborted"))
        assert node.received() == []
        assert "1 MiB" in node.events("association aborted")[0]["reason"]


def test_a_large_image_takes_no_memory(tmp_path: Path) -> None:
    with receiving(tmp_path, limits={"instance_mib": 256}) as node, open_wire(node) as wire:
        before, block = resident_mib(), part(DATA, bytes(2**15))
        wire.send(part(COMMAND | LAST, command(STORE)))
        for _ in range(2**11):
            wire.send(block)
        wire.send(part(DATA | LAST, b""))
        assert status(wire.answer()) == 0
        assert node.received()[0].stat().st_size > 2**26
        assert resident_mib() - before < 24


def test_a_peer_that_vanishes_half_way_leaves_nothing(node: Node) -> None:
    with open_wire(node) as wire:
        wire.send(part(COMMAND | LAST, command(STORE)), part(DATA, bytes(9999)))
        wait_for(lambda: list(node.folders.incoming.iterdir()))
    wait_for(lambda: node.receiver.associations == 0)
    assert node.received() == []


def test_two_requests_at_once_are_both_answered(node: Node) -> None:
    one = part(COMMAND | LAST, command(STORE)) + part(DATA | LAST, b"data")
    with open_wire(node) as wire:
        wire.send(one, one)
        assert [status(wire.answer()) for _ in range(2)] == [0, 0]
    assert len(node.received()) == 2


def test_the_release_of_an_association_is_written_down_and_an_abort_is_not(tmp_path: Path) -> None:
    at_release = Completeness(idle_seconds=3600, at_release=True)
    with receiving(tmp_path / "node", completeness=at_release) as node:
        with open_wire(node, syntax=ExplicitVRLittleEndian) as wire:
            data = image(tmp_path / "a.dcm").read_bytes()
            start = data.index(b"\x08\x00\x16\x00UI")
            wire.send(part(COMMAND | LAST, command(STORE)), part(DATA | LAST, data[start:]))
            assert status(wire.answer()) == 0
        wait_for(lambda: node.events("association aborted"))
        assert node.intake() == ["received: "]
        assert node.queue.settle(node.config) == []
        assert store(node, image(tmp_path / "b.dcm", SeriesInstanceUID="1.2.8")) == 0
        wait_for(lambda: node.events("association released"))
        node.intake()
        assert [job.series_uid for job in node.queue.settle(node.config)] == ["1.2.8"]


def test_who_sent_what_is_written_down(node: Node, tmp_path: Path) -> None:
    dataset = dcmread(image(tmp_path / "a.dcm"))
    assert store(node, tmp_path / "a.dcm", calling="SCANNER") == 0
    (event,) = node.events("image received")
    assert event["peer"] == "SCANNER 127.0.0.1"
    assert event["image"] == dataset.SOPInstanceUID
    assert event["file"] == node.received()[0].name


def test_stopping_aborts_associations_and_frees_the_port(tmp_path: Path) -> None:
    before = threading.active_count()
    with receiving(tmp_path) as node:
        port = node.port
        wire = open_wire(node)
    assert wire.answer()[0] == ABORTED
    wire.socket.close()
    wait_for(lambda: threading.active_count() <= before)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))


def test_a_port_that_is_taken_is_said_in_one_line(node: Node, tmp_path: Path) -> None:
    other = Node(tmp_path / "other", port=node.port)
    with pytest.raises(DelineateError, match=rf"port {node.port} .*in use.*; choose another"):
        other.receiver.start()
    other.queue.close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return signed(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return signed(tmp_path_factory.mktemp("theirs"))


def node_tls(files: Signed) -> Tls:
    return Tls(certificate=files.certificate, key=files.key, ca=files.ca)


@pytest.mark.parametrize("caller", ["ours", "theirs", "nobody"])
def test_with_tls_a_certificate_of_the_authority_is_needed(
    tmp_path: Path, ours: Signed, theirs: Signed, caller: str
) -> None:
    context, kind = ssl.create_default_context(cafile=ours.ca), CLOSED
    if shown := {"ours": ours, "theirs": theirs}.get(caller):
        context.load_cert_chain(shown.certificate, shown.key)
    with receiving(tmp_path, tls=node_tls(ours)) as node, Wire(node) as wire:
        with suppress(OSError):  # a stranger hears of it when it sends or when it reads
            wire.socket = context.wrap_socket(wire.socket, server_hostname="localhost")
            kind = wire.send(request()).answer()[0]
        assert kind == (ACCEPTED if caller == "ours" else CLOSED)
        if caller != "ours":
            wait_for(lambda: node.events("association refused"))
        said = [event["certificate"] for event in node.events("association accepted")]
        assert said == (["commonName=127.0.0.1"] if caller == "ours" else [])


def test_who_shakes_no_hands_keeps_nobody_out(tmp_path: Path, ours: Signed) -> None:
    context = ssl.create_default_context(cafile=ours.ca)
    context.load_cert_chain(ours.certificate, ours.key)
    with receiving(tmp_path, tls=node_tls(ours)) as node, Wire(node) as silent, Wire(node) as wire:
        wire.socket = context.wrap_socket(wire.socket, server_hostname="localhost")
        assert wire.send(request()).answer()[0] == ACCEPTED
        assert node.events("association refused") == []
        assert silent.answer()[0] == CLOSED


def test_dcmtk_comes_in_by_tls_and_not_without(tmp_path: Path, ours: Signed) -> None:
    with receiving(tmp_path, tls=node_tls(ours)) as node:
        echo = (program("echoscu"), "-aec", "NODE", "-to", "5", "-ta", "5")
        answer = run(*echo, "+tls", ours.key, ours.certificate, "+cf", ours.ca, "localhost", node.port)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert run(*echo, "localhost", node.port).returncode != 0
        wait_for(lambda: node.events("association refused"))


def test_certificates_that_cannot_be_used_are_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    tls = Tls(certificate=tmp_path / "x.pem", key=tmp_path / "x.pem", client_certificate=False)
    node = Node(tmp_path / "node", tls=tls)
    with pytest.raises(DelineateError, match=r"tls: .*x\.pem.*; name PEM files"):
        node.receiver.start()
    node.queue.close()


KILLED = """
import sys, threading
from pathlib import Path
from receiving import receiving
with receiving(Path(sys.argv[1])) as node:
    print(node.port, flush=True)
    threading.Event().wait()
"""


def test_what_was_acknowledged_is_there_after_the_node_was_killed(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(receiving_file).parent), *sys.path])
    command_line = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        assert process.stdout
        killed = SimpleNamespace(port=int(process.stdout.readline()))
        with open_wire(killed) as wire:
            for index in range(3):
                wire.send(part(COMMAND | LAST, command(STORE)), part(DATA | LAST, b"image %d" % index))
                assert status(wire.answer()) == 0
            process.kill()
    node = Node(tmp_path)
    (node.folders.incoming / ".tmp-half").touch()
    assert node.queue.recover()[1:] == ([], [])
    assert [path.read_bytes()[-7:] for path in node.received()] == [b"image 0", b"image 1", b"image 2"]
    node.queue.close()
