"""pynetdicom's acceptor of associations, for a network in which not everybody means well.

pynetdicom keeps to the standard and trusts its peer: it waits for ever for the rest of a PDU, reads as many bytes as
one claims to have, keeps data sets and what is sent ahead in memory, shakes hands for TLS where it takes connections,
and leaves threads behind when an exception ends one. What is replaced here has a limit of time or size for each.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from io import BytesIO
from queue import Empty, Queue
from socketserver import BaseServer
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_CANCEL_RQ, C_ECHO_RQ, C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.service_class import StorageServiceClass, VerificationServiceClass
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from ..imaging.dicom.parsing import quiet

MAXIMUM_PDU = 2**16
"""Bytes of a P-DATA-TF PDU that peers are told to send at most."""
NOT_UNDERSTOOD = "sent what cannot be understood"
_LONGEST_REQUEST, _LONGEST_PDU = 2**17, 2**20  # bytes that are read: before and after an association is accepted
_LONGEST_COMMAND = 2**13  # bytes; a C-STORE-RQ has some 300
_MOST_AHEAD = 8  # requests that wait for their turn; nothing but one at a time is negotiated
_SOON, _IDLE = 0.001, 0.1  # seconds between two looks: while something goes on, and while nothing does
_ABORT = bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 0])  # A-ABORT by the provider, without a reason
_REQUESTS = (C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ)

logging.getLogger("pynetdicom").setLevel(
    logging.CRITICAL + 1
)  # it writes what strangers send; the audit says it safely
_config.LOG_HANDLER_LEVEL = "none"


class ProtocolError(Exception):
    """A peer does not keep to the protocol, or goes beyond a limit; its association is aborted."""


class DataSet(BytesIO):
    """Where the bytes of a C-STORE's data set go; given up with `discard` where they do not become an image."""

    def discard(self) -> None:
        """Forget what was written."""


class Command(NamedTuple):
    """What a C-STORE-RQ says of its data set."""

    sop_class: str
    sop_instance: str
    transfer_syntax: UID


class Owner(NamedTuple):
    """What an acceptor asks of those who use it.

    Attributes:
        open_data_set: called with the command of a C-STORE when its data set begins.
        ended: called once when an accepted connection has ended, however it did.
        turned_away: called with an address and a reason where a connection did not get as far as an association.
    """

    open_data_set: Callable[[Command], DataSet]
    ended: Callable[[GuardedAssociation], None]
    turned_away: Callable[[str, str], None]


class Acceptor(ThreadedAssociationServer):
    """Takes connections, at most ``connections`` at a time; each is shaken hands with in its own thread."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, ae: AE, *args: Any, owner: Owner, connections: int, **keywords: Any) -> None:
        self.owner, self.connections = owner, connections
        self._open, self._turn = 0, threading.Lock()
        super().__init__(ae, *args, request_handler=_Handler, **keywords)
        self._gc = [0, 599]  # it collects garbage each time that it has looked so often for connections

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection, before anything is read from it."""
        assert self.socket
        connection, address = self.socket.accept()
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for another connection."""
        with self._turn:
            room = self._open < self.connections
            self._open += room
        if not room:
            self.owner.turned_away(client_address[0], "too many connections")
        return room

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, and hand the connection to an association."""
        request.settimeout(self.ae.network_timeout)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.ssl_context:
            request = self.ssl_context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        except BaseException:
            request.close()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection has ended before it was an association's."""
        self.release_connection()
        reason = "no TLS connection came about" if self.ssl_context else "the connection broke"
        self.owner.turned_away(client_address[0], reason)

    def close(self) -> None:
        """Take no more connections."""
        BaseServer.shutdown(self)
        self.server_close()

    def release_connection(self) -> None:
        """There is room for another."""
        with self._turn:
            self._open -= 1


class GuardedAssociation(Association):
    """An association that ends, whatever its peer does, and has a ``key`` of its own."""

    def __init__(self, ae: AE, server: Acceptor) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.key = uuid4().hex
        self.peer = ""
        self.reason = ""
        self._acceptor = server
        self._server = server
        self.dul = _UpperLayer(self)
        self.messages = self.dimse = _Messages(self, server.owner)
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout  # the timers of the new layer

    def run_reactor(self) -> None:
        """The association, from connection to end."""
        try:
            super().run_reactor()
        except Exception:
            self.messages.break_off(NOT_UNDERSTOOD)
            self.is_aborted = True
            self.kill()
        finally:
            self.messages.discard()
            if isinstance(self.dul.socket, _Socket):
                self.dul.socket.shut()
            self._acceptor.release_connection()
            self._acceptor.owner.ended(self)

    def kill(self) -> None:
        """End both threads; one that still waits for its peer has no more time than a silent peer has."""
        self._reactor_checkpoint.set()
        self._kill = self._is_paused = True
        self.is_established = False
        end = monotonic() + (self.network_timeout or 0)
        while self.dul.is_alive() and not self.dul.stop_dul():
            if monotonic() > end:
                self.dul.kill_dul()
            threading.Event().wait(0.01)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        context = self._accepted_cx.get(context_id)
        if context is None or not msg.is_valid_request or not isinstance(msg, C_STORE | C_ECHO):
            self.messages.break_off("asked for what is not offered")
            return
        try:
            service = StorageServiceClass if isinstance(msg, C_STORE) else VerificationServiceClass
            with quiet():
                service(self).SCP(msg, context)
        finally:
            if isinstance(msg, C_STORE) and isinstance(msg.DataSet, DataSet):
                msg.DataSet.discard()


class _Handler(RequestHandler):
    server: Acceptor

    def _create_association(self) -> Association:
        association = GuardedAssociation(self.ae, self.server)
        association.name = f"AcceptorThread@{datetime.now(timezone.utc):%Y%m%d%H%M%S}"  # pynetdicom knows them by that
        association.set_socket(_Socket(association, client_socket=self.request))
        acceptor = association.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = self.server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        acceptor.supported_contexts = self.server.contexts  # which nobody changes: a copy takes 20 ms
        association.requestor.address_info = self.remote
        for event, handlers in self.server._handlers.items():
            bound = handlers if isinstance(handlers, list) else [handlers]
            for handler, arguments in bound:
                if handler:
                    association.bind(event, handler, arguments)
        return association


class _Socket(AssociationSocket):
    """Gives its peer a limited time for each PDU, and refuses to read a long one.

    pynetdicom looks for data a thousand times a second; here it waits for them.
    """

    @property
    def ready(self) -> bool:
        sock, layer = self.socket, self.assoc.dul
        if sock is None or not self._is_connected:
            time.sleep(_SOON)
        elif not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            with suppress(OSError, ValueError):
                select.select([sock], [], [], _IDLE if layer.waits_for_peer else _SOON)
        return bool(super().ready)

    @property
    def patience(self) -> float:
        return self.assoc.network_timeout or 0

    def recv(self, nr_bytes: int) -> bytearray:
        if nr_bytes > (_LONGEST_PDU if self.assoc.is_established else _LONGEST_REQUEST):
            raise OSError(f"a PDU of {nr_bytes} bytes")
        assert self.socket
        buffer, done, end = bytearray(nr_bytes), 0, monotonic() + self.patience
        if hasattr(socket, "TCP_QUICKACK"):  # else a peer that follows Nagle waits 40 ms between command and data
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        with memoryview(buffer) as view:
            while done < nr_bytes:
                self.socket.settimeout(max(end - monotonic(), 0.001))
                count = self.socket.recv_into(view[done:])
                if not count:
                    break
                done += count
        del buffer[done:]
        return buffer

    def send(self, bytestream: bytes) -> None:
        if self.socket:
            self.socket.settimeout(self.patience)
            super().send(bytestream)

    def shut(self) -> None:
        """Close, whatever state it is in."""
        self._shutdown_socket()
        self.socket, self._is_connected = None, False

    def _shutdown_socket(self) -> None:
        if sock := self.socket:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                sock.close()


class _Waking(Queue[Any]):
    """Primitives for the association, which waits for messages."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._association.dimse.msg_queue.put((None, None))


class _UpperLayer(DULServiceProvider):
    """Ends quietly, and says so to the association, which would wait for it."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.daemon = True
        self._run_loop_delay = 0  # the socket waits
        self.to_user_queue = _Waking(association)

    @property
    def waits_for_peer(self) -> bool:
        """Whether it is the peer's turn, for a request of an association or another."""
        if self.event_queue.qsize() or self.to_provider_queue.qsize():
            return False
        state = self.state_machine.current_state
        return state == "Sta2" or (state == "Sta6" and not self.assoc.dimse.serving)

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except Exception:  # a PDU that cannot be decoded, or not now
            if self.socket:
                with suppress(Exception):
                    self.socket.send(_ABORT)
            self.assoc.is_aborted, self.assoc.is_established = True, False
        finally:
            self.to_user_queue.put(None)  # type: ignore[arg-type]


class _Messages(DIMSEServiceProvider):
    """Takes C-STORE and C-ECHO alone; data sets go where the owner says, nothing else may be long."""

    def __init__(self, association: GuardedAssociation, owner: Owner) -> None:
        super().__init__(association)
        self._association, self._owner = association, owner
        self._command_bytes = 0
        self.serving = False

    def get_msg(self, block: bool = False) -> Any:
        """A message, or, after some waiting, none."""
        self.serving = False
        with suppress(Empty):
            message = self.msg_queue.get(timeout=_IDLE)
            self.serving = True
            return message
        return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        for value in primitive.presentation_data_value_list:
            try:
                with quiet():  # pydicom warns of each odd value
                    self._take(*value)
            except Exception as error:
                self.break_off(str(error) if isinstance(error, ProtocolError) else NOT_UNDERSTOOD)
                return

    def break_off(self, reason: str) -> None:
        """Abort the association: A-ABORT by the provider."""
        self._association.reason = self._association.reason or reason
        self.dul.event_queue.put("Evt19")

    def discard(self) -> None:
        """Give up the data sets that are on their way or wait for their turn."""
        waiting = [request.DataSet for _, request in list(self.msg_queue.queue) if isinstance(request, C_STORE)]
        for data_set in (*waiting, self.message and self.message.data_set):
            if isinstance(data_set, DataSet):
                data_set.discard()

    def _take(self, context_id: int, data: bytes) -> None:
        if data[0] & 1:
            self._check_command(data)
        elif not isinstance(self.message, C_STORE_RQ):
            raise ProtocolError("sent data without a C-STORE request")
        part = P_DATA()
        part.presentation_data_value_list.append((context_id, data))
        self.serving = self.serving or bool(data[0] & 2)
        super().receive_primitive(part)
        if self.message is not None and data[0] & 3 == 3:
            self._begin(self.message, context_id)

    def _check_command(self, data: bytes) -> None:
        if isinstance(self.message, _REQUESTS):
            raise ProtocolError("sent a command within a data set")
        self._command_bytes += len(data)
        if self._command_bytes > _LONGEST_COMMAND:
            raise ProtocolError(f"sent a command of more than {_LONGEST_COMMAND} bytes")
        if data[0] & 2:
            self._command_bytes = 0
        if self.msg_queue.qsize() >= _MOST_AHEAD:
            raise ProtocolError(f"sent more than {_MOST_AHEAD} requests ahead")

    def _begin(self, message: DIMSEMessage, context_id: int) -> None:
        """A command is complete and a data set follows."""
        context = self._association._accepted_cx.get(context_id)
        if context is None or not isinstance(message, C_STORE_RQ):
            raise ProtocolError("asked for what is not offered")
        command = message.command_set
        names = str(command.get("AffectedSOPClassUID", "")), str(command.get("AffectedSOPInstanceUID", ""))
        message.data_set = self._owner.open_data_set(Command(*names, context.transfer_syntax[0]))


def association_of(event: evt.Event) -> GuardedAssociation:
    """Whose event it is."""
    assert isinstance(event.assoc, GuardedAssociation)
    return event.assoc
