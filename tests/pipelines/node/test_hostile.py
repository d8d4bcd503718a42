"""What a stranger may send: nothing of it ends the node, lies outside of its folders, or costs more than its limits."""

from __future__ import annotations

import random
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_files import element
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification
from receiving import (
    ABORTED,
    ACCEPTED,
    CLOSED,
    COMMAND,
    DATA,
    ECHO,
    EVENT,
    FIND,
    LAST,
    REJECTED,
    SILENT,
    STORE,
    Node,
    Wire,
    command,
    open_wire,
    part,
    pdu,
    receiving,
    request,
    resident_mib,
    status,
    wait_for,
)

from delineate.pipelines.imaging.dicom.parsing import quiet
from delineate.pipelines.node.receiving import receiver

SHORT = part(COMMAND | LAST, command(STORE))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with receiving(tmp_path_factory.mktemp("home") / "node", limits={"associations": 5}) as node:
        yield node


@pytest.fixture
def node(home: Node) -> Iterator[Node]:
    """A node that, afterwards, serves as before, with no thread more, and has written nothing outside."""
    before = threading.active_count()
    yield home
    wait_for(lambda: threading.active_count() <= before)
    assert home.receiver.associations == 0
    assert [path.name for path in home.config.folder.parent.iterdir()] == ["node"]
    assert not list(home.folders.incoming.glob(".*"))
    with open_wire(home, contexts=[Verification]) as wire:
        assert status(wire.send(part(COMMAND | LAST, command(ECHO, False, sop_class=Verification))).answer()) == 0
    wait_for(lambda: home.receiver.associations == 0)


def stored(node: Node, data: bytes, syntax: str = ImplicitVRLittleEndian, instance: str = "1.2.3") -> int:
    with open_wire(node, syntax=syntax) as wire:
        wire.send(part(COMMAND | LAST, command(STORE, instance=instance)))
        for start in range(0, len(data), 2**14):
            wire.send(part(DATA, data[start : start + 2**14]))
        return status(wire.send(part(DATA | LAST, b"")).answer())


def encoded(implicit: bool = True, **attributes: object) -> bytes:
    facts = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": "1.2.3",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.1",
        "PatientID": "a",
        "Rows": 2,
        "Columns": 2,
    }
    with quiet():
        data = encode(element(**{**facts, **attributes}), implicit, True)
    assert data is not None
    return data


def taken_in(node: Node) -> str:
    return node.intake()[0]


@pytest.mark.parametrize("kind", range(1, 8))
def test_a_claimed_length_of_4_gib_ends_the_connection(node: Node, kind: int) -> None:
    before = resident_mib()
    with Wire(node) as wire:
        wire.send(pdu(kind, b"x" * 2**16, 2**32 - 1))
        assert wire.answer()[0] in (CLOSED, ABORTED)
    assert resident_mib() - before < 8


def test_a_claimed_length_of_4_gib_ends_an_association(node: Node) -> None:
    before = resident_mib()
    with open_wire(node) as wire:
        wire.send(SHORT, pdu(4, b"x" * 2**16, 2**32 - 1))
        assert wire.answer()[0] in (CLOSED, ABORTED)
    assert resident_mib() - before < 8


def test_who_falls_silent_is_let_go_in_time(node: Node) -> None:
    """Before the request, within its head, within its body, after it, within a command, within a data set."""
    begun = [b"", request()[:3], request()[:60], request(), request() + SHORT[:40], request() + SHORT]
    wires = [Wire(node).send(start) for start in begun]
    since = time.monotonic()
    for wire in wires:
        with wire:
            while wire.answer()[0] != CLOSED:
                assert time.monotonic() - since < 4 * SILENT


def test_a_byte_now_and_then_is_not_enough(node: Node) -> None:
    with Wire(node) as wire:
        since = time.monotonic()
        for byte in request():
            wire.send(bytes([byte]))
            time.sleep(SILENT / 10)
            if time.monotonic() - since > 1.5 * SILENT:
                break
        assert wire.answer()[0] == CLOSED


def test_a_hundred_associations_at_once_are_each_answered(tmp_path: Path) -> None:
    before, threads = resident_mib(), threading.active_count()
    with receiving(tmp_path, limits={"associations": 12, "seconds_silent": 60}) as patient:
        wires = [Wire(patient).send(request()) for _ in range(100)]
        answers = [wire.answer() for wire in wires]
        assert [kind for kind, _ in answers].count(ACCEPTED) == 12
        assert {body for kind, body in answers if kind == REJECTED} == {bytes([0, 2, 3, 2])}
        assert resident_mib() - before < 64
        for wire in wires:
            wire.socket.close()
    wait_for(lambda: threading.active_count() <= threads)


def test_connections_beyond_those_are_closed_at_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.receiver._acceptor, "connections", 20)
    before = threading.active_count()
    wires = [Wire(node) for _ in range(30)]
    assert wires[-1].answer()[0] == CLOSED
    assert threading.active_count() - before <= 2 * 20 + 5
    for wire in wires:
        wire.socket.close()


def test_names_that_are_paths_stay_names(node: Node) -> None:
    name = "../../../../tmp/outside"
    assert stored(node, encoded(PatientID=name, PatientName=name), instance=name) == 0
    assert taken_in(node) == "received: "
    assert stored(node, encoded(SOPInstanceUID=name, StudyInstanceUID="../..", SeriesInstanceUID="/etc")) == 0
    assert taken_in(node).startswith("quarantined: has a StudyInstanceUID that breaks the standard's form ('../..')")
    assert "outside" not in "".join(str(path) for path in node.config.folder.parent.rglob("*"))


@pytest.mark.parametrize("title", [b"\x1b[31mRED\x07", b"\xff\xfe\xfd", b"../../../../tmp/", b"\0" * 16, b"a\nb\\c"])
def test_titles_that_are_no_titles_are_refused_and_logged_on_one_line(node: Node, title: bytes) -> None:
    with Wire(node) as wire:
        kind, _ = wire.send(request(called=title, calling=title)).answer()
    assert kind in (REJECTED, ABORTED, CLOSED)
    wait_for(lambda: node.receiver.associations == 0)
    for event in node.events("association refused"):
        assert all(str(value).isprintable() for value in event.values())


@pytest.mark.parametrize(
    "sent",
    [
        part(DATA | LAST, b"no command"),
        part(COMMAND, b"x" * 9000),
        part(COMMAND | LAST, b"no command set"),
        part(COMMAND | LAST, b"\xff" * 999),
        part(COMMAND | LAST, command(FIND)) + part(DATA, bytes(9999)),
        part(COMMAND | LAST, command(FIND, False)),
        part(COMMAND | LAST, command(EVENT, False)),
        part(COMMAND | LAST, command(EVENT)),
        part(COMMAND | LAST, command(0x8001, False)),
        part(COMMAND | LAST, command(STORE), context=3),
        part(COMMAND | LAST, command(STORE), context=0),
        part(COMMAND | LAST, command(STORE, instance="1" * 999)) + part(DATA | LAST, b"x"),
        SHORT + part(DATA, b"x") + SHORT,
        SHORT + part(DATA, b"x") + pdu(5, bytes(4)),
        SHORT + part(DATA, b"x") + request(),
        SHORT + part(DATA, b"x") + pdu(9, b"unknown"),
        SHORT + part(DATA, b"x") + pdu(4, struct.pack(">I", 2**31) + b"\1\0x"),
        SHORT + part(DATA, b"x") + pdu(4, struct.pack(">I", 1) + b"\1"),
        SHORT + part(DATA, b"x") + pdu(4, b""),
        SHORT + part(DATA, b"x") + pdu(2, b"x" * 100),
        SHORT + part(DATA, b"x") + pdu(7, bytes(4)),
        (SHORT + part(DATA | LAST, b"x")) * 50 + pdu(9, b""),
    ],
    ids=lambda sent: str(len(sent)),
)
def test_what_breaks_the_protocol_ends_the_association(node: Node, sent: bytes) -> None:
    with open_wire(node) as wire:
        wire.send(sent)
        while wire.answer()[0] not in (CLOSED, ABORTED):
            pass
    wait_for(lambda: node.receiver.associations == 0)


def test_a_request_that_is_broken_ends_the_connection(node: Node) -> None:
    good = request()
    broken = [
        pdu(1, b""),
        pdu(1, bytes(68)),
        pdu(1, b"\xff" * 5000),
        good[:74] + b"\x20\0\xff\xff" + good[78:],
        good.replace(b"\x10\0\0\x15", b"\x10\0\xff\xff"),
        request(contexts=["x" * 200]),
        request(contexts=[]),
    ]
    for each in broken:
        with Wire(node) as wire:
            assert wire.send(each).answer()[0] in (CLOSED, ABORTED, REJECTED, ACCEPTED)


def test_thousands_of_transfer_syntaxes_cost_little(node: Node) -> None:
    many = b"\x40\0\0\1x" * 12000
    context = b"\x20\0" + struct.pack(">H", len(many) + 4) + b"\1\0\0\0" + many
    body = request()[6:] + context
    before = resident_mib()
    with Wire(node) as wire:
        assert wire.send(pdu(1, body)).answer()[0] in (CLOSED, ABORTED, REJECTED, ACCEPTED)
    assert resident_mib() - before < 32


def test_a_segment_of_one_byte_is_enough_for_the_answer(node: Node) -> None:
    small = request().replace(struct.pack(">BBHI", 0x51, 0, 4, 16384), struct.pack(">BBHI", 0x51, 0, 4, 1))
    with Wire(node) as wire:
        assert wire.send(small).answer()[0] == ACCEPTED
        wire.send(SHORT, part(DATA | LAST, encoded()))
        while wire.answer()[0] not in (CLOSED, ABORTED):
            pass


def test_reports_that_nobody_asked_for_are_not_read(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    monkeypatch.setattr("pynetdicom.service_class_n.StorageCommitmentServiceClass.SCP", lambda *_: read.append(1))
    for sent in (part(COMMAND | LAST, command(EVENT, False)), part(COMMAND | LAST, command(EVENT))):
        with open_wire(node) as wire:
            assert wire.send(sent).answer()[0] == ABORTED
    assert read == []


def test_a_cancel_is_passed_over(node: Node) -> None:
    with open_wire(node) as wire:
        wire.send(part(COMMAND | LAST, command(0x0FFF, False)), SHORT, part(DATA | LAST, b"data"))
        assert status(wire.answer()) == 0


def test_random_bytes_are_survived(node: Node) -> None:
    dice = random.Random(11)
    for _ in range(60):
        good = bytearray(request() + SHORT + part(DATA | LAST, b"data"))
        for _ in range(dice.randrange(1, 9)):
            good[dice.randrange(len(good))] = dice.randrange(256)
        with Wire(node) as wire:
            wire.send(bytes(good))
    wait_for(lambda: node.receiver.associations == 0)


def test_a_deflate_bomb_is_quarantined_within_the_limits(node: Node) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = encoded(implicit=False) + b"\xe0\x7f\x10\x00OB\0\0" + struct.pack("<I", 2**30)
    begin = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)  # which needs nothing that was before it
    bomb = begin + 260 * again + packer.flush()
    assert len(bomb) < 2**20
    before = resident_mib()
    assert stored(node, bomb, DeflatedExplicitVRLittleEndian) == 0
    assert "deflated and becomes more than 256 MiB" in taken_in(node)
    assert resident_mib() - before < 32


@pytest.mark.parametrize("length", [1, 7, 40, 100])
def test_a_truncated_header_is_quarantined(node: Node, length: int) -> None:
    assert stored(node, encoded()[:length]) == 0
    assert taken_in(node).startswith("quarantined: ")


def test_nested_sequences_without_end_are_quarantined_or_filed(node: Node) -> None:
    deep = encoded() + (b"\x08\0\x40\x11\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff") * 50_000
    assert stored(node, deep) == 0
    assert taken_in(node).split(":")[0] in ("quarantined", "received")


def test_refusals_without_end_do_not_fill_the_disk(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "_REFUSALS", 5)
    before = len(node.events("association refused"))
    for _ in range(20):
        with Wire(node) as wire:
            wire.send(request(called=b"x")).answer()
    assert len(node.events("association refused")) - before <= 10  # two minutes may have begun
