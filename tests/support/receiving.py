"""A node's receiving side with small limits, and a peer that speaks to it byte by byte."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from delineate.pipelines.node.audit import Audit
from delineate.pipelines.node.configuration.config import Caller, Limits, NodeConfig
from delineate.pipelines.node.folders import Folders
from delineate.pipelines.node.queue.queue import Queue
from delineate.pipelines.node.receiving.intake import Intake
from delineate.pipelines.node.receiving.receiver import Receiver

SILENT = 0.5
STORE, ECHO, FIND, EVENT = 0x0001, 0x0030, 0x0020, 0x0100
COMMAND, DATA, LAST = 1, 0, 2
REJECTED, ACCEPTED, ABORTED, RELEASED, CLOSED = 3, 2, 7, 6, 0


class Node:
    """What came, and what is known of it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        limits = {"associations": 20, "seconds_silent": SILENT, "instance_mib": 8, "free_mib": 0}
        limits |= changes.pop("limits", {})
        everybody = (Caller(ae_title="*"),)
        settings = {"ae_title": "NODE", "address": "127.0.0.1", "port": 0, "callers": everybody} | changes
        self.config = NodeConfig(folder=folder, limits=Limits(**limits), **settings)
        self.folders = Folders(folder)
        self.folders.make()
        self.queue = Queue(self.folders.database)
        self.audit = Audit(self.folders.audit)
        self.receiver = Receiver(self.config, self.queue, self.audit)

    @property
    def port(self) -> int:
        return self.receiver.port

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for file in self.folders.audit.iterdir() for line in file.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    def received(self) -> list[Path]:
        """The files that were written down, in order; nothing else may lie beside them."""
        names = [arrival.file for arrival in self.queue.arrivals()]
        assert sorted(names) == sorted(path.name for path in self.folders.incoming.iterdir())
        return [self.folders.incoming / name for name in names]

    def intake(self) -> list[str]:
        """Take in what came; state and reason of each job, the newest first."""
        intake = Intake(self.config, self.queue, self.audit)
        intake.take_all(threading.Event())
        intake.close()
        return [f"{job.state}: {job.reason}" for job in self.queue.jobs()]


@contextmanager
def receiving(folder: Path, **changes: Any) -> Iterator[Node]:
    """A node that listens."""
    node = Node(folder, **changes)
    node.receiver.start()
    try:
        yield node
    finally:
        node.receiver.stop()
        node.queue.close()


def associate(
    node: Node, *contexts: str, syntax: str = ImplicitVRLittleEndian, calling: str = "PEER", called: str = "NODE"
) -> Association:
    """An association of pynetdicom's, accepted or not."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    for context in contexts or (CTImageStorage,):
        entity.add_requested_context(context, syntax)
    return entity.associate("127.0.0.1", node.port, ae_title=called)


def rejection(association: Association) -> tuple[int, int, int]:
    """Result, source, reason."""
    answer = association.acceptor.primitive
    assert association.is_rejected
    return answer.result, answer.result_source, answer.diagnostic


def program(name: str) -> str:
    """Where a program of dcmtk's or another is; not pip's of the same name. Skips the test where there is none."""
    found = shutil.which(name, path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def wait_for(what: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.01)


def resident_mib() -> float:
    return float(psutil.Process().memory_info().rss / 2**20)


class Wire:
    """A peer that sends what it likes."""

    def __init__(self, node: Node | SimpleNamespace) -> None:
        self.socket = socket.create_connection(("127.0.0.1", node.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pdus: bytes) -> Wire:
        with suppress(OSError):  # the node may have had enough
            self.socket.sendall(b"".join(pdus))
        return self

    def answer(self) -> tuple[int, bytes]:
        """Kind and body of the next PDU, kind 0 where the connection ended."""
        try:
            head = self._read(6)
            return head[0], self._read(int.from_bytes(head[2:6], "big"))
        except (EOFError, ConnectionError):
            return CLOSED, b""

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    return bytes([kind, 0]) + struct.pack(">I", len(body) if length is None else length) + body


def _item(kind: int, body: bytes) -> bytes:
    return bytes([kind, 0]) + struct.pack(">H", len(body)) + body


def request(
    contexts: Sequence[str] = (CTImageStorage,),
    called: bytes = b"NODE",
    calling: bytes = b"PEER",
    syntax: str = ImplicitVRLittleEndian,
) -> bytes:
    """An A-ASSOCIATE-RQ; the contexts are 1, 3, ..."""
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for index, context in enumerate(contexts):
        syntaxes = _item(0x30, context.encode()) + _item(0x40, syntax.encode())
        items += _item(0x20, bytes([2 * index + 1, 0, 0, 0]) + syntaxes)
    items += _item(0x50, _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.3"))
    return pdu(1, b"\0\1\0\0" + called.ljust(16) + calling.ljust(16) + bytes(32) + items)


def part(flags: int, data: bytes, context: int = 1) -> bytes:
    """A P-DATA-TF of one value."""
    return pdu(4, struct.pack(">I", len(data) + 2) + bytes([context, flags]) + data)


def command(field: int, has_data: bool = True, instance: str = "1.2.3", sop_class: str = CTImageStorage) -> bytes:
    """A command set in Implicit VR Little Endian, whatever its names hold."""
    elements = {0x0002: _text(sop_class), 0x0100: _short(field), 0x0110: _short(1), 0x0700: _short(0)}
    elements |= {0x0800: _short(1 if has_data else 0x0101)}
    elements |= {0x1000: _text(instance)} if field in (STORE, EVENT) else {}
    elements |= {0x1002: _short(1)} if field == EVENT else {}
    data = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in elements.items())
    return struct.pack("<HHII", 0, 0, 4, len(data)) + data


def _short(number: int) -> bytes:
    return struct.pack("<H", number)


def _text(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)


def open_wire(node: Node | SimpleNamespace, **details: Any) -> Wire:
    """A peer whose association was accepted."""
    wire = Wire(node).send(request(**details))
    assert wire.answer()[0] == ACCEPTED
    return wire


def status(answer: tuple[int, bytes]) -> int:
    """Of the response to a C-STORE or C-ECHO."""
    kind, body = answer
    assert kind == 4
    at = body.index(b"\x00\x00\x00\x09\x02\x00\x00\x00")
    return int.from_bytes(body[at + 8 : at + 10], "little")
