"""Archives that misbehave, on ports of 127.0.0.1: by the protocol, and below it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import BaseServer
from typing import Any

from dicom_files import write_image
from numpy import zeros
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from delineate.pipelines.exchange import Outgoing

CR = str(ComputedRadiographyImageStorage)
STUDY = {"StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2"}  # Orthanc stores no image without


@dataclass
class Archive:
    """One that runs: its port, and the data sets that it stored."""

    port: int
    stored: list[Dataset] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)


def outgoing(folder: Path, number: int = 1, size: int = 4) -> list[Outgoing]:
    """Images to be stored somewhere."""
    folder.mkdir(exist_ok=True)
    made = []
    for index in range(number):
        uid = generate_uid()
        path = write_image(
            folder / f"{index}.dcm",
            zeros((size, size), "uint8"),
            SOPClassUID=CR,
            SOPInstanceUID=uid,
            Modality="CR",
            **STUDY,
        )
        made.append(Outgoing(path, CR, str(uid)))
    return made


@contextmanager
def archive(
    answer: Callable[[evt.Event], int] = lambda event: 0x0000,
    *,
    ae_title: str = "ARCHIVE",
    sop_classes: Sequence[str] = (CR,),
    syntaxes: Sequence[str] = (ExplicitVRLittleEndian,),
    tls: ssl.SSLContext | None = None,
    on_action: Callable[[evt.Event], int] | None = None,
    **settings: Any,
) -> Iterator[Archive]:
    """An archive that answers each C-STORE so; with `on_action`, it offers storage commitment."""
    entity = AE(ae_title)
    for name, value in settings.items():
        setattr(entity, name, value)
    entity.add_supported_context(Verification)
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    if on_action:
        entity.add_supported_context(StorageCommitmentPushModel)
    here = Archive(0)

    def store(event: evt.Event) -> int:
        status = answer(event)
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        here.stored += [dataset] if status == 0 else []
        return status

    handlers: list[Any] = [
        (evt.EVT_C_STORE, store),
        (evt.EVT_C_ECHO, answer),
        (evt.EVT_CONN_OPEN, lambda event: here.connections.append(str(event.address))),
        (evt.EVT_N_ACTION, lambda event: (on_action(event) if on_action else 0x0110, None)),
    ]
    with serving(entity, handlers, tls) as here.port:
        yield here


@contextmanager
def serving(entity: AE, handlers: list[Any], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port that an application entity listens at."""
    kind = ThreadedAssociationServer
    server = entity.make_server(("127.0.0.1", 0), evt_handlers=handlers, ssl_context=tls, server_class=kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        BaseServer.shutdown(server)
        server.server_close()
        thread.join()
        for association in entity.active_associations:
            association.abort()


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each connection is served so, and then closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                opened.append(listener.accept()[0])
                threading.Thread(target=_serve, args=(serve, opened[-1]), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # else who waits in accept() keeps it open
        listener.close()
        for one in opened:
            one.close()


def _serve(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with connection, suppress(OSError):
        serve(connection)


def silent(connection: socket.socket) -> None:
    """Reads, and says nothing."""
    while connection.recv(2**16):
        pass


@contextmanager
def through(port: int, most: int, then: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port that passes all on to another one, but of what is sent to it only so many bytes; `then` comes the end."""

    def serve(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as inner:
            threading.Thread(target=_copy, args=(inner, connection, None), daemon=True).start()
            _copy(connection, inner, most)
            then(connection)

    with listening(serve) as outer:
        yield outer


def _copy(source: socket.socket, target: socket.socket, most: int | None) -> None:
    with suppress(OSError):
        while most is None or most > 0:
            data = source.recv(2**14 if most is None else min(most, 2**14))
            if not data:
                return
            target.sendall(data)
            most = None if most is None else most - len(data)


def same(one: Dataset, path: Path) -> bool:
    """Whether a data set has the values of a file; Implicit VR does not tell OB from OW."""
    return {element.tag: element.value for element in one} == {element.tag: element.value for element in dcmread(path)}
